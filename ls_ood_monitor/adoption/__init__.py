"""Make a adopted network into a bundle: read its graph, propose settings, append the monitor's nodes.

Needs the package ``onnx`` (``requirements/export.txt``). A vehicle does not.
"""
