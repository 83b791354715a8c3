# SPDX-License-Identifier: Apache-2.0
"""Certificates for tests, made by openssl: a CA, and leaves that it or another one has signed."""
import os
import subprocess

LOCAL = "DNS:localhost,IP:127.0.0.1"
EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
RSA = ["-newkey", "rsa:2048"]


def openssl(*args):
    done = subprocess.run(["openssl", *args], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {' '.join(args)}: {done.stderr}")


class Certs:
    """In a folder: NAME.crt and NAME.key."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)

    def crt(self, name):
        return os.path.join(self.folder, name + ".crt")

    def key(self, name):
        return os.path.join(self.folder, name + ".key")

    def pair(self, name):
        return {"cert": self.crt(name), "key": self.key(name)}

    def ca(self, name="ca"):
        openssl("req", "-x509", *EC, "-nodes", "-days", "3650", "-keyout", self.key(name), "-out", self.crt(name), "-subj", f"/CN={name}",
                "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def leaf(self, name, names=LOCAL, ca="ca", days=365, usage="serverAuth,clientAuth", kind=EC):
        """days < 0: it has ended already."""
        csr, extensions = os.path.join(self.folder, name + ".csr"), os.path.join(self.folder, name + ".ext")
        openssl("req", "-new", *kind, "-nodes", "-keyout", self.key(name), "-out", csr, "-subj", f"/CN={name}")
        with open(extensions, "w") as f:
            f.write(f"extendedKeyUsage={usage}\nbasicConstraints=CA:FALSE\n" + (f"subjectAltName={names}\n" if names else ""))
        openssl("x509", "-req", "-in", csr, "-CA", self.crt(ca), "-CAkey", self.key(ca), "-CAcreateserial", "-days", str(days), "-out",
                self.crt(name), "-extfile", extensions)
