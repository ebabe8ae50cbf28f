#!/usr/bin/python3
"""Days on which things go wrong around a healthy daemon: no space, two daemons on one root, clients and
daemons that are killed, everybody pulling and removing at once.

    bad_days_test.py --bin DIR [unittest's arguments]

Runs inside tools/with-registry, as root.
"""

import argparse
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from daemon import Daemon, Died, Failure, wait_for  # noqa: E402
from scenarios import BASE, STACK  # noqa: E402

BIN = None


class BadDays(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="skiff-bad-days-", ignore_cleanup_errors=True)
        self.addCleanup(scratch.cleanup)
        self.registry = os.environ["SKIFF_REGISTRY"]
        self.stack, self.base = f"{self.registry}/{STACK}", f"{self.registry}/{BASE}"
        self.daemon = Daemon(BIN, pathlib.Path(scratch.name) / "d")
        self.addCleanup(self.daemon.remove)

    def run(self, result=None):
        outcome = super().run(result)
        if result and any(test is self for test, _ in result.errors + result.failures):
            print(self.daemon.log_end(), file=sys.stderr)
        return outcome

    def container(self, name):
        """The line of `ps -a` that holds the name, or None."""
        return next((line for line in self.daemon.run("ps", "-a").splitlines() if name in line), None)

    def run_in_background(self, name, *command, options=("--rm",)):
        client = self.daemon.spawn("run", *options, "--name", name, "--net", "none", self.stack, *command)
        self.addCleanup(client.wait)
        self.addCleanup(client.kill)
        for _ in wait_for(20):
            if name in self.daemon.run("ps"):
                return client
        self.fail(f"{name} does not run")

    def assert_clean(self):
        problem = None
        for _ in wait_for(10, pause=0.1):
            try:
                self.daemon.run("fsck", "--deep")
                return
            except Failure as error:
                problem = error
        raise problem

    # --- one instance a root --------------------------------------------------------------------
    def test_a_second_daemon_on_the_root_is_refused_and_told_why(self):
        self.daemon.start()
        second = subprocess.run([BIN / "skiffd", "--config", self.daemon.config], capture_output=True, text=True,
                                timeout=30)
        self.assertEqual(second.returncode, 1)
        self.assertIn(f"pid {self.daemon.process.pid}", second.stderr)
        self.assertIn(str(self.daemon.root), second.stderr)
        self.daemon.run("pull", self.stack)  # the first one goes on
        self.daemon.stop()
        self.daemon.start()  # the lock went with its holder
        self.daemon.stop()

    def test_a_lock_of_a_killed_daemon_holds_nobody(self):
        self.daemon.start()
        self.daemon.kill()
        self.daemon.start()
        self.daemon.stop()

    # --- the daemon and its clients come and go -------------------------------------------------
    def test_a_container_outlives_kill_9_of_the_daemon(self):
        self.daemon.start()
        self.daemon.run("pull", self.stack)
        client = self.run_in_background("stays", "sleep", "1000")
        before = self.daemon.processes()
        self.daemon.kill()
        self.daemon.start()
        self.assertIn("stays", self.daemon.run("ps"))
        self.assertTrue(before & self.daemon.processes())
        self.daemon.run("rm", "-f", "stays")
        self.assertEqual(client.wait(20), 137)  # it has found its container again, too
        self.assert_clean()
        self.daemon.stop()
        self.assert_nothing_left()

    def test_a_stop_leaves_containers_running_and_the_next_start_takes_them_up(self):
        self.daemon.start()
        self.daemon.run("pull", self.stack)
        client = self.run_in_background("stays", "sleep", "1000")
        self.daemon.stop()
        self.assertTrue(self.daemon.processes())
        self.daemon.start()
        self.assertIn("stays", self.daemon.run("ps"))
        self.daemon.run("rm", "-f", "stays")
        self.assertEqual(client.wait(20), 137)  # it has found its container again, too
        self.daemon.stop()
        self.assert_nothing_left()

    def test_an_exit_while_no_daemon_runs_is_reported_with_its_code(self):
        self.daemon.start()
        self.daemon.run("pull", self.stack)
        client = self.run_in_background("ends", "sh", "-c", "while [ ! -e /host/go ]; do sleep 0.05; done; exit 7",
                                        options=("-v", f"{self.daemon.folder}:/host"))
        self.daemon.kill()
        before = self.daemon.processes()
        (self.daemon.folder / "go").touch()
        for _ in wait_for(10):
            if len(self.daemon.processes()) < len(before):
                break
        self.daemon.start()
        for _ in wait_for(10):
            line = self.container("ends")
            if line and "exited" in line.lower():
                break
        self.assertRegex(line, re.compile(r"exited.*\b7\b", re.I))
        self.assertEqual(client.wait(20), 7)
        self.daemon.run("rm", "ends")
        self.daemon.stop()
        self.assert_nothing_left()

    def test_rm_happens_though_the_client_is_killed(self):
        self.daemon.start()
        self.daemon.run("pull", self.stack)
        client = self.run_in_background("short", "sleep", "1")
        client.send_signal(signal.SIGKILL)
        client.wait()
        for _ in wait_for(20):
            if not self.container("short"):
                break
        self.assertIsNone(self.container("short"))
        self.assert_clean()
        self.daemon.stop()
        self.assert_nothing_left()

    def test_a_stop_in_the_middle_of_a_pull_ends_in_time_and_in_order(self):
        self.daemon.start()
        pull = self.daemon.spawn("pull", self.stack)
        begin = time.monotonic()
        self.daemon.stop()
        self.assertLess(time.monotonic() - begin, 15)
        pull.wait(10)
        self.daemon.start()
        self.daemon.run("pull", self.stack)
        self.assert_clean()
        self.daemon.stop()

    # --- space ----------------------------------------------------------------------------------
    def test_a_full_disk_loses_nothing_whatever_its_size(self):
        self.daemon.root.mkdir()
        self.addCleanup(subprocess.run, ["umount", "-l", self.daemon.root])
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", self.daemon.root], check=True)
        self.daemon.config.write_text(self.daemon.config.read_text() + '[pull]\nfree_space_reserve = 0\n')
        refused = 0
        for size in range(1, 21):
            subprocess.run(["mount", "-o", f"remount,size={size}m", self.daemon.root], check=True)
            if not self.daemon.start(must=False):
                refused += 1
                continue
            try:
                self.daemon.run("pull", self.stack)
                whole = True
            except Failure as error:
                self.assertRegex(str(error), re.compile("space|disk is full", re.I))
                refused, whole = refused + 1, False
            if whole:
                self.assertEqual(self.daemon.run("run", "--rm", "--net", "none", self.stack, "echo", "hi"), "hi\n")
            self.daemon.kill()  # and no time to tidy up either
        self.assertTrue(whole)
        self.assertGreater(refused, 1)
        self.daemon.start()
        self.assert_clean()
        self.daemon.stop()

    # --- everybody at once ----------------------------------------------------------------------
    def test_pulls_removals_and_collections_at_once(self):
        self.daemon.start()
        end, problems = time.monotonic() + 8, []

        def repeat(*words, allowed="not found|canceled|no image"):
            while time.monotonic() < end:
                try:
                    self.daemon.run(*words)
                except Failure as error:
                    if not re.search(allowed, str(error), re.I):
                        problems.append(str(error))
                        return
                except Died:
                    problems.append("the daemon died")
                    return

        work = [("pull", self.stack), ("pull", self.stack), ("pull", self.base), ("rmi", self.stack),
                ("rmi", self.base), ("gc",), ("run", "--rm", "--net", "none", self.base, "true")]
        threads = [threading.Thread(target=repeat, args=words) for words in work]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(problems, [])
        self.daemon.run("pull", self.stack)
        self.assertEqual(self.daemon.run("run", "--rm", "--net", "none", self.stack, "echo", "hi"), "hi\n")
        self.daemon.run("gc")
        self.assert_clean()
        self.daemon.stop()
        self.assert_nothing_left()

    def assert_nothing_left(self):
        for _ in wait_for(5):
            if not self.daemon.leftovers():
                return
        self.assertEqual(self.daemon.leftovers(), [])


def main():
    global BIN
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    args, rest = parser.parse_known_args()
    BIN = args.bin.resolve()
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
