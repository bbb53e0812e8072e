"""Image sets: `prepare.load` opens one, `images` holds it, `augment` makes the input of the net."""
