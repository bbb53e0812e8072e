"""Image sets: `prepare.load` opens one, `images` holds it, `augment` makes the input of the net.

from alexlib.data.prepare import load

train, test = load("imagenette")  # or "sample", "cifar10", "miniimagenet", "imagenet", a folder
"""
