"""Executes the commands of a guide as they stand: every block marked `sh` that holds `curl`, with the address of the
guide's server replaced by the one given. A command that fails, or an answer with `error`, fails the check.

    curl.py docs/serving.md http://127.0.0.1:8080
"""

import os
import re
import subprocess
import sys
import tempfile


def main():
    guide, url = sys.argv[1:]
    with open(guide, encoding="utf-8") as file:
        blocks = re.findall(r"^```sh\n(.*?)^```", file.read(), flags=re.DOTALL | re.MULTILINE)
    blocks = [block for block in blocks if "curl" in block]
    if not blocks:
        sys.exit(f"{guide}: no block of commands with curl")
    with tempfile.TemporaryDirectory() as folder:
        picture(os.path.join(folder, "picture.png"))
        for block in blocks:
            script = block.replace("http://127.0.0.1:8080", url).replace("curl ", "curl --fail-with-body -sS ")
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, capture_output=True, text=True)
            if done.returncode or '"error":{' in done.stdout:
                sys.exit(f"{block}\nended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    print(f"{len(blocks)} blocks of the guide: ok")


def picture(path):
    from PIL import Image

    Image.new("RGB", (96, 64), "red").save(path)


if __name__ == "__main__":
    main()
