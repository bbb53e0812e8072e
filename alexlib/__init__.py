"""alexlib: a reproduction study of AlexNet (Krizhevsky, Sutskever, Hinton, NIPS 2012).

Read first, beside the paper:

    config.py, paper.py    all settings; the paper's numbers and claims
    models/alexnet.py      the net, top to bottom, as in Figure 2; its parts are in models/layers.py
    training/loop.py       train_step, fit, evaluate; the update rule is in training/optim.py
    data/augment.py        crops, mirror images, colour noise, ten views
    study/                 runs, variants, and what they say about the claims

The notebooks show how to use it; `python -m alexlib --help` lists the commands.
"""

__version__ = "0.1.0"
