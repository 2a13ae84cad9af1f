"""Minutes of kills, full disks, read-only folders and two writers at once, and a look at what they leave.

Run by hand, not in continuous integration, as root where a tmpfs shall be mounted::

    export OMP_NUM_THREADS=1
    python benchmarks/robustness/soak.py --minutes 20 --out benchmarks/robustness/results/soak.md

Each try draws an action, a disturbance, and whether an older version of the output stands there. Afterwards every
output must be absent (where nothing stood), old or new, and whole: it is loaded, and embeddings, predictions, tokens
and weights are compared with those of an undisturbed run, bit for bit. A process that is not killed succeeds or says in
a sentence which path it cannot write. Then the action is done undisturbed: it must succeed, be new, and leave no file
of a dead writer.
"""

import argparse
import shutil
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from actions import ACTIONS, NEW, OLD, Action, make_inputs
from disk import Disk
from processes import Child

# How often each is drawn: most kills come too late or too early to fall into a write.
WEIGHTS = {"none": 1, "kill": 4, "full disk": 3, "read-only": 1, "two writers": 2, "load meanwhile": 2}
COLUMNS = ("tries", "killed", "refused by name", "absent", "whole old", "whole new", "wrong")


class Soak:
    """The state of a run.

    Parameters
    ----------
    work
        Folder for everything.
    seed
        Of all that is drawn.
    """

    def __init__(self, work: Path, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.store, self.kept, self.logs = work / "store", work / "kept", work / "logs"
        for folder in (self.store, self.kept, self.logs):
            folder.mkdir()
        self.disk = Disk(work / "disk")
        self.expected: dict[str, dict[str, str]] = {}
        self.seconds: dict[str, float] = {}
        self.rows: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self.faults: list[str] = []
        self._number = 0

    def start(self, action: Action, version: str = NEW) -> Child:
        """Begin an action in a process of its own."""
        self._number += 1
        log = self.logs / f"{self._number:05d}.log"
        out = self.disk.out
        return Child(lambda: action.run(self.store, out, version), log, self.disk.most_bytes, self.disk.as_nobody)

    def prepare(self) -> None:
        """Do everything once, undisturbed, in both versions: what later results are compared with."""
        child = Child(lambda: make_inputs(self.store), self.logs / "inputs.log", None, False)
        if child.wait():
            raise RuntimeError(child.said)
        for action in ACTIONS:
            for version in (OLD, NEW) if action.replaces else (NEW,):
                begun = time.monotonic()
                child = self.start(action, version)
                if child.wait():
                    raise RuntimeError(child.said)
                self.seconds[action.name] = time.monotonic() - begun
                found = {name: look(self.disk.out / name) for name, look in action.outputs.items()}
                self.expected |= {f"{action.name} {name} {version}": {text: version} for name, text in found.items()}
                shutil.copytree(self.disk.out, self.kept / f"{action.name} {version}")
                self.disk.empty()

    # ------------------------------------------------------------------------ one try

    def attempt(self) -> None:
        """Draw an action and a disturbance, do it, judge, heal, judge again."""
        action = ACTIONS[self.rng.integers(len(ACTIONS))]
        loads = "model" in action.outputs
        kinds = [kind for kind in WEIGHTS if kind != "load meanwhile" or loads]
        weights = np.array([WEIGHTS[kind] for kind in kinds], float)
        kind = str(self.rng.choice(kinds, p=weights / weights.sum()))
        before = bool(action.replaces and self.rng.random() < 0.7)
        if before:
            shutil.copytree(self.kept / f"{action.name} {OLD}", self.disk.out, dirs_exist_ok=True)
        row = self.rows[action.name, kind]
        row["tries"] += 1
        for child in self.disturb(action, kind):
            self.judge_process(action, kind, child, row)
        self.disk.free()
        state = self.judge_outputs(action, kind, before, row)
        self.heal(action, kind, state, row)
        self.disk.empty()

    def disturb(self, action: Action, kind: str) -> list[Child]:
        """Do it, under the disturbance; the processes have not been waited for."""
        size = sum(path.stat().st_size for path in (self.kept / f"{action.name} {NEW}").rglob("*") if path.is_file())
        if kind == "full disk":
            self.disk.fill(int(self.rng.integers(0, int(1.2 * size))))
        if kind == "read-only":
            self.disk.lock()
        children = [self.start(action)]
        if kind == "kill":
            time.sleep(float(self.rng.random()) * 1.1 * self.seconds[action.name])
            children[0].kill()
        if kind == "two writers":
            time.sleep(float(self.rng.random()) * 0.7 * self.seconds[action.name])
            children.append(self.start(action))
        if kind == "load meanwhile":
            children.append(self.start(Action("load", self.load_often, {})))
        return children

    def load_often(self, store: Path, out: Path, version: str) -> int:
        """Load while another process saves; what is loaded is one version or the other."""
        action = next(action for action in ACTIONS if "model" in action.outputs)
        look, known = action.outputs["model"], self.known(action, "model")
        for _ in range(10):
            try:
                found = look(out / "model")
            except FileNotFoundError:
                continue
            if found not in known:
                print(f"loaded something else: {found}")
                return 3
        return 0

    def known(self, action: Action, name: str) -> dict[str, str]:
        """Fingerprints of an output, and the version of each."""
        return {
            text: version for version in (OLD, NEW) for text in self.expected.get(f"{action.name} {name} {version}", {})
        }

    # ------------------------------------------------------------------------- judging

    def judge_process(self, action: Action, kind: str, child: Child, row: Counter[str]) -> None:
        """Count how a process ended; anything but success, a kill and a refusal that names the path is wrong."""
        code = child.wait()
        if code == -9 and kind == "kill":
            row["killed"] += 1
        elif code == 1 and str(self.disk.out) in child.said and "Traceback" not in child.said:
            row["refused by name"] += 1
        elif code != 0:
            self.wrong(action, kind, f"exit {code}: {child.said[-600:]}", row)

    def judge_outputs(self, action: Action, kind: str, before: bool, row: Counter[str]) -> list[str]:
        """Count what stands there; gone, half or something else is wrong."""
        states = [self.state(action, name) for name in action.outputs]
        for state in states:
            if state == "absent" and not before:
                row["absent"] += 1
            elif state in (OLD, NEW):
                row[f"whole {state}"] += 1
            else:
                self.wrong(action, kind, f"output {state}, an old one {'stood' if before else 'did not stand'}", row)
        return states

    def state(self, action: Action, name: str) -> str:
        """Tell which version an output is."""
        try:
            found = action.outputs[name](self.disk.out / name)
        except FileNotFoundError:
            return "absent"
        except Exception as error:  # noqa: BLE001 - whatever it is, the output is not whole
            return f"unreadable ({type(error).__name__}: {str(error)[:300]})"
        return self.known(action, name).get(found, "of other content")

    def heal(self, action: Action, kind: str, states: list[str], row: Counter[str]) -> None:
        """Do the same undisturbed; it must succeed, be new, and clear what others left."""
        if set(states) != {NEW} or action.replaces:
            child = self.start(action)
            if code := child.wait():
                self.wrong(action, kind, f"undisturbed, exit {code}: {child.said[-600:]}", row)
                return
        states = [self.state(action, name) for name in action.outputs]
        if set(states) != {NEW}:
            self.wrong(action, kind, f"undisturbed, outputs {states}", row)
        if left := self.disk.left_over():
            self.wrong(action, kind, f"left over: {left}", row)

    def wrong(self, action: Action, kind: str, what: str, row: Counter[str]) -> None:
        """Note a fault."""
        row["wrong"] += 1
        self.faults.append(f"{action.name} × {kind}: {what}".replace(str(self.disk.place), "DISK"))
        print(self.faults[-1], flush=True)

    # --------------------------------------------------------------------------- table

    def table(self, command: str, minutes: float) -> str:
        """Write what was counted."""
        lines = [
            f"`{command}`, {minutes:.1f} minutes of tries. The disk is {self.disk.kind}.",
            "«Refused by name»: the process ended with a sentence that names the path. «Absent», «old», «new»: outputs",
            "after the disturbance, found whole and equal to those of an undisturbed run (of nothing, where nothing",
            "stood); «wrong»: all else, left-over files after the next success included.",
            "",
            f"| action | disturbance | {' | '.join(COLUMNS)} |",
            f"|---|---|{'---|' * len(COLUMNS)}",
        ]
        total: Counter[str] = Counter()
        order = [(action.name, kind) for action in ACTIONS for kind in WEIGHTS]
        for name, kind in [key for key in order if key in self.rows]:
            row = self.rows[name, kind]
            total.update(row)
            lines.append(f"| {name} | {kind} | {' | '.join(str(row[column]) for column in COLUMNS)} |")
        lines.append(f"| all | | {' | '.join(str(total[column]) for column in COLUMNS)} |")
        return "\n".join(
            [*lines, *(["", "Wrong:", "", *(f"- {fault}" for fault in self.faults)] if self.faults else [])]
        )


def main() -> None:
    """Soak for the time given, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0, help="of tries (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="file for the table (default: stdout)")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    work = Path(tempfile.mkdtemp(prefix="soak-"))
    work.chmod(0o755)
    soak = Soak(work, arguments.seed)
    try:
        soak.prepare()
        begun = time.monotonic()
        while time.monotonic() - begun < 60 * arguments.minutes:
            soak.attempt()
        minutes = (time.monotonic() - begun) / 60
        text = soak.table(f"soak.py --minutes {arguments.minutes:g} --seed {arguments.seed}", minutes) + "\n"
    finally:
        soak.disk.close()
        shutil.rmtree(work)
    if arguments.out is None:
        print(text)
    else:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
