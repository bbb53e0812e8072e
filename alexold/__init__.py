"""alexold: the thin library under the AlexNet notebooks. Import the module you need; each one is short.

    paths     where data, runs and reports are
    progress  one line of progress, live or final
    interrupt Ctrl-C and SIGTERM between two steps instead of in the middle of one
    parallel  several processes that train one net (torchrun)
    stats     bootstrap intervals
    paper     the paper as data: layer table, constants, the 2012 logs
    claims    the claim register: what the paper says that can be checked; the ledger of ambiguities
    verdicts  the rules of docs/protocol.md: estimates, intervals, verdicts
    settings  fields of dataclasses that know their meaning and valid values
    config    frozen specs (`Net`, `Augment`, `Train`), the readings `PAPER` and `SOURCE2012`, the scales
    native    the response norm in C, built at first use
    layers    local and spatial response norm, non-inverted dropout, a linear layer in towers
    towers    the net on two devices, a tower on each; the colour of their kernels
    nets      `AlexNet`, stage by stage; initial weights; shapes and cost
    facts     what is counted from the net: parameters, neurons, memory
    diagnostics  sizes of activations and gradients, layer by layer
    sample    the generated pictures of the `sample` scale
    pictures  picture files to squares of bytes, or what is wrong with them
    pack      squares of bytes to one file on disk
    sources   where the pictures of a scale come from: generated, downloaded, or a folder
    check     a look at every picture of a folder before it is packed
    data      `Images`: pictures with labels, classes, mean image and colour PCA
    augment   batched crop, flip, colour PCA, ten views
    transforms  the same as torchvision transforms
    batches   pictures to the device, a batch at a time, in an order that follows from the seed
    optim     the update rule and the schedules of the learning rates
    ablations the variants of notebook 03, and the proof that each differs
    protocol  what is run, and what is evidence (tables/protocol.toml)
    watch     stops on NaN loss; warns if the loss stays at chance
    checkpoint  what a run needs to go on where it stopped
    rows      one measurement = one line of JSON
    train     `fit` and `evaluate`: one visible loop
    workers   jobs in processes of their own, several at a time
    study     runs from seeds to rows, one or a grid of them
    glimpse   a run as it stands, also while it is trained elsewhere
    race      how soon runs reach a training error
    effects   what variants do against their baseline
    findings  what finished runs say of the paper's claims without a variant
    retrieval nearest neighbours, their precision, short binary codes
    features  a trained net's kernels and activations, what excites its units
    foreign   weights that others trained, in the nets they belong to
    costs     what the runs on record took, and how they differ from the readings
    scorecard every claim beside what the rows on record say of it
    measures  what finished runs say without training: several nets averaged, halving
    studies   all runs of the protocol, in its order
    plots     figures from rows
    tower_plots  a figure of the two towers and what crosses between them
    contrasts figures of variants against a baseline
    gallery   figures of pictures: a set, its colours, crops, colour noise, views
    feature_plots  figures of kernels, neighbours, codes, units
    site      reports to web pages that need no network, their index, their links
    report    notebooks to reports (papermill)

`python -m alexold --help` offers the same calls to a shell; docs/design.md says how the parts fit.
"""

__version__ = "0.1.0"
