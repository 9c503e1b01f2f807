"""A trained model as a file for other programs; a file here is a format, its name is the command line's ``--format``.

A format has ``EXTENSION``, ``exported(model, example, metadata)``, the bytes of the file, and
``probabilities(file, images)``, what the file says of images, or None where nothing is installed that runs it.
TorchScript is none of them: torch has deprecated it in favour of ``torch.export``.
"""
