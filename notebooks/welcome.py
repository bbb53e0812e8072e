# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Welcome
#
# These notebooks take AlexNet (Krizhevsky, Sutskever and Hinton, 2012) apart. You build its pieces by hand,
# check them against the library, and use them to test the claims of the paper. Keep the paper at hand.
#
# Read the notebooks in this order. Click one to open it; **Run > Run All Cells** runs it. The minutes are for
# the scale `sample` on two cores without a GPU: generated images and narrow nets. The numbers that count come
# from longer runs, which are on record; the notebooks show these numbers too.
#
# | notebook | what it teaches | paper | minutes |
# | --- | --- | --- | --- |
# | [00 The data](00_data.ipynb) | what the net sees of an image | 2 | 1 |
# | [01 Augmentation](01_augmentation.ipynb) | how crops, flips and colour noise enlarge a set | 4.1 | 1 |
# | [02 ReLU and tanh](02_relu_vs_tanh.ipynb) | how much sooner nets with ReLUs learn | 3.1 | 2 |
# | [03 Ablations](03_ablations.ipynb) | dropout; what one part of a net is worth | 3, 4 | 1 |
# | [04 Training AlexNet](04_train.ipynb) | the net layer by layer, and its training loop | 3, 5 | 2 |
# | [05 What the net has learned](05_features.ipynb) | filters, features, neighbours | 6.1 | 1 |
# | [06 Scorecard](06_scorecard.ipynb) | which claims hold here, and how we know | all | 1 |

# %% [markdown]
# ## Does it work?
#
# Click into the cell and press Shift + Enter. It counts the parameters of the paper's net. The paper says 60
# million.

# %%
from alexlib.config import PAPER
from alexlib.models.alexnet import shapes_and_cost

parameters = sum(stage["parameters"] for stage in shapes_and_cost(PAPER))
print(f"alexlib works: the net of the paper has {parameters:,} parameters")

# %% [markdown]
# ## What to know before you start
#
# - **Exercises.** Each notebook ends with "Try it". Write down what you expect, then run. Answers are in the
#   folder [solutions](solutions).
# - **Stop and resume.** The stop button ends the training after the current step. Run the cell again to
#   resume. A finished run is opened and not trained again.
# - **Other images, longer runs.** Set `scale` in the cell below the title "Parameters". Only `sample` needs
#   no data. The [README](../README.md) has a table of all scales.
# - **Start over.** Kernel > Restart Kernel and Run All Cells.
# - **For teachers:** [a course of three sessions](../docs/teaching.md).
