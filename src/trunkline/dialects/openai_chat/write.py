from trunkline.dialects import Writer


def write(chat, source):
    raise NotImplementedError
