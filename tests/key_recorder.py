"""Which keys of a configuration somebody reads."""


class KeyRecorder:
    """Notes which keys of a config are read, by their dotted names."""

    def __init__(self, config, monkeypatch):
        names = {id(config): ""}
        self.all, self.read = set(), set()
        pending = [config]
        while pending:
            node = pending.pop()
            for key, value in node.items():
                name = f"{names[id(node)]}{key}"
                if isinstance(value, type(config)):
                    names[id(value)] = f"{name}."
                    pending.append(value)
                else:
                    self.all.add(name)
        original = type(config).__getattr__

        def recording(node, key):
            if id(node) in names and not key.startswith("_"):
                self.read.add(f"{names[id(node)]}{key}")
            return original(node, key)

        monkeypatch.setattr(type(config), "__getattr__", recording)
