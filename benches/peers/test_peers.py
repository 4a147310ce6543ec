"""What needs no network and no package: `python3 -m unittest discover -s benches/peers`."""

import sys
import tempfile
import unittest
from pathlib import Path
from xml.etree import ElementTree

import chart
import report
from failure import Failure, run
from live import Command, Live, interleave
from machine import CAPS
from report import CONVOLUTION, NETWORK, ONEDNN, SEAM, Ratio, Results, Row, Shape

SHAPE = "64,56,56,64,3,1"


def results() -> Results:
    """Two rounds, the second on a machine half as fast."""
    times = {
        (NETWORK, "net"): {SEAM: 3.0, "OpenVINO": 4.0, "LiteRT": 6.0},
        (CONVOLUTION, SHAPE): {ONEDNN: 2.0, f"{SEAM} slow": 4.0, f"{SEAM} fast": 1.0},
    }
    made = Results()
    for (kind, subject), peers in times.items():
        for peer, ms in peers.items():
            made.rows += [Row(kind, "all", 1, subject, peer, r, ms * (1 + r)) for r in range(2)]
    return made


class Arithmetic(unittest.TestCase):
    def test_a_ratio_is_taken_within_rounds(self) -> None:
        # The medians' ratio would be 2 / 3; round by round it is 2, 2 and 1 / 8.
        ratio = Ratio.of({0: 2.0, 1: 6.0, 2: 1.0}, {0: 1.0, 1: 3.0, 2: 8.0, 3: 9.0})
        self.assertEqual(ratio.median, 2.0)
        self.assertEqual((ratio.low, ratio.high), (1.0625, 2.0))

    def test_a_mean_of_ratios_is_geometric(self) -> None:
        self.assertAlmostEqual(report.geometric_mean([0.5, 2.0, 1.0]), 1.0)

    def test_operations_count_two_a_tap_on_padding_too(self) -> None:
        self.assertEqual(Shape.parse(SHAPE).operations(), 2 * 64 * 64 * 9 * 56 * 56)
        halved = Shape.parse("64,56,56,128,1,2")
        self.assertEqual(halved.operations(), 2 * 64 * 128 * 28 * 28)
        self.assertAlmostEqual(halved.gops(1.0), halved.operations() / 1e6)


class Reports(unittest.TestCase):
    def test_csv_brings_back_every_row(self) -> None:
        made = results()
        with tempfile.TemporaryDirectory() as folder:
            made.write_csv(Path(folder) / "r.csv")
            self.assertEqual(Results.read_csv(Path(folder) / "r.csv").rows, made.rows)

    def test_tables_say_by_how_much(self) -> None:
        table = report.markdown(results(), ["a fact"], only_avx2=False)
        self.assertIn("| net | 4.50 | 6.00 | 0.75 (0.75–0.75) | 9.00 | 0.50 (0.50–0.50) |", table)
        rates = [Shape.parse(SHAPE).gops(ms) for ms in (3.0, 1.5)]
        row = f"| {SHAPE} | {rates[0]:.0f} | {rates[1]:.0f} | fast | 2.00 (2.00–2.00) |"
        self.assertIn(row, table)
        self.assertNotIn("saturating", table)
        self.assertIn("saturating", report.markdown(results(), [], only_avx2=True))

    def test_a_network_that_a_peer_lacks_is_a_dash(self) -> None:
        made = results()
        made.rows.append(Row(NETWORK, "all", 1, "other", SEAM, 0, 1.0))
        self.assertIn("| other | 1.00 | – | – | – | – |", report.markdown(made, [], False))

    def test_the_chart_is_xml_with_a_bar_for_every_time(self) -> None:
        root = ElementTree.fromstring(chart.svg(results(), "2 < 3 & so on"))
        titles = [e.text for e in root.iter("{http://www.w3.org/2000/svg}title")]
        self.assertIn("net, OpenVINO: 1.33×, 6.0 ms", titles)
        self.assertEqual(len(titles), 1 + 3 + 2)
        widths = {
            e[0].text.split(":")[0]: float(e.get("width"))
            for e in root.iter("{http://www.w3.org/2000/svg}rect")
            if len(e)
        }
        self.assertAlmostEqual(widths["net, LiteRT"], 2 * widths["net, Seam"], places=1)


class Processes(unittest.TestCase):
    def live(self, peer: str, code: str, folder: str) -> Live:
        command = Command(peer, [sys.executable, "-c", code], {})
        return Live(command, Path(folder) / "log")

    def test_a_turn_is_the_median_after_the_first(self) -> None:
        code = (
            "for n in map(int, iter(input, '')):"
            " print(*[99, *range(10, n + 9)], sep='\\n', flush=True)"
        )
        with tempfile.TemporaryDirectory() as folder:
            live = self.live("p", code, folder)
            live.reps = 3
            self.assertEqual(live.turn(), 11)
            live.close()

    def test_order_turns_round_every_other_round(self) -> None:
        code = "for n in map(int, iter(input, '')): print('1\\n' * n, end='', flush=True)"
        with tempfile.TemporaryDirectory() as folder:
            peers = [self.live(name, code, folder) for name in "ab"]
            order = [(number, peer) for number, peer, _ in interleave(peers, 2)]
            for peer in peers:
                peer.close()
        self.assertEqual(order, [(0, "a"), (0, "b"), (1, "b"), (1, "a")])

    def test_a_peer_off_its_turn_is_stopped(self) -> None:
        code = "for n in map(int, iter(input, '')): print('1\\n' * n, end='', flush=True)"
        with tempfile.TemporaryDirectory() as folder:
            live = self.live("p", code, folder)
            status = Path(f"/proc/{live.process.pid}/status")
            # The signal may take a moment to arrive.
            states = (status.read_text().split("State:")[1].split()[0] for _ in range(10_000))
            self.assertIn("T", states)
            live.close()

    def test_failures_are_one_line(self) -> None:
        with tempfile.TemporaryDirectory() as folder, self.assertRaises(Failure) as died:
            self.live("p", "import sys; sys.exit('no such model')", folder)
        self.assertIn("no such model", str(died.exception))
        self.assertNotIn("\n", str(died.exception))
        with self.assertRaises(Failure) as absent:
            run(["no-such-compiler"], "compiling", "install it")
        self.assertIn("install it", str(absent.exception))


class Caps(unittest.TestCase):
    def test_a_cap_binds_only_where_there_is_more(self) -> None:
        zen3, zen5 = ["avx2", "fma"], ["avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni"]
        self.assertFalse(CAPS["avx2"].binds(zen3))
        self.assertTrue(CAPS["avx2"].binds(zen5))
        self.assertFalse(CAPS["avxvnni"].possible(zen3))
        self.assertTrue(CAPS["avxvnni"].possible(zen5))


if __name__ == "__main__":
    unittest.main()
