"""A client that sends a request one byte after the other."""

import socket

# Far more than a server should wait for; each is followed by a look for an answer.
_MAX_BYTES = 200
_LOOK_SECONDS = 0.05


def is_cut_off(client: socket.socket, *, sent_first: bytes) -> bool:
    """Return whether the server closes the connection before it has heard all.

    Args:
        client: A new connection.
        sent_first: What is sent at once, up to the value of some header.
    """
    client.sendall(sent_first)
    client.settimeout(_LOOK_SECONDS)
    for _ in range(_MAX_BYTES):
        try:
            client.sendall(b"x")
            if not client.recv(1):
                return True
        except TimeoutError:
            continue
        except ConnectionError:
            return True
    return False
