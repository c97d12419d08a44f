"""Videos that lie on the server: inside one folder, and nowhere else."""

from pathlib import Path

from openfsar.serve.forms import Upload
from openfsar.serve.problems import Problem


class Paths:
    """The folder whose videos may be named by path; None allows none.

    Links are followed before the question is asked where a file lies, so that none leads out.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = None if folder is None else folder.resolve(strict=True)

    def find(self, path: str) -> Upload:
        """The file as if it had been uploaded; marked where it is not one that may be read.

        Raises:
            Problem: No path may be given at all.
        """
        if self.folder is None:
            raise Problem(
                403,
                "no paths allowed",
                "this server reads no videos of its own",
                allowed="uploads",
                remedy="upload the video, or start the server with --allow-paths FOLDER",
            )
        try:
            found = (self.folder / path).resolve()
            inside = found.is_relative_to(self.folder) and found.is_file()
        except (OSError, ValueError, RuntimeError):  # too long, a null byte, links in a circle
            found, inside = self.folder, False
        if inside:
            return Upload(path, found)
        # One answer for all, so that nobody learns which files lie elsewhere.
        problem = Problem(
            404,
            "no such video",
            f"{path!r} is no file inside the folder of this server",
            allowed="paths of files, relative to that folder",
            remedy="check the spelling",
            file=path,
        )
        return Upload(path, found, problem=problem)
