"""The protocol of native/src/pool.cpp as a small model, all of whose interleavings can be tried.

One action of a thread is one access to shared memory, in the order of the source. (All accesses
that the argument in docs/design.md needs in one order are sequentially consistent in the source, so
interleavings are all there is to try.) Spinning is left out: it only makes a thread come later.
`fault` names a change for the worse, for seeing that the model notices.
"""

from typing import NamedTuple

FAULTS = (
    "looks before it says that it sleeps",
    "nobody is woken",
    "takes without comparing",
    "opens before it counts",
    "every thread may take",
    "the caller is not woken",
)


class Shared(NamedTuple):
    """What threads see of each other; `part` to `done` are what next() knows."""

    part: int
    count: int
    members: int
    done: tuple  # of each item of the open part, how often
    open: tuple  # of each seat: how many threads may take; items not taken
    end: tuple
    missing: int
    round: int  # odd: no job
    asleep: tuple
    sleepers: int


class Thread(NamedTuple):
    """Where a thread is, and what it remembers."""

    at: str = "attend"
    seen: int = 0
    seat: int = 0  # how many seats it has looked at
    read: tuple = (0, 0)
    finished: int = 0
    turn: int = 0  # of a loop over seats or sleepers
    among: int = 0
    count: int = 0
    rounds: int = 0  # what it adds to the round
    most: int = 0
    woken: bool = False
    blocked: bool = False
    back: str = ""  # where it goes on after waking others


class BrokenError(Exception):
    """An item skipped or done twice, or done where it must not be."""


def put(values, i, value):
    return (*values[:i], value, *values[i + 1 :])


class Model:
    """Threads 0 (the caller) to n - 1, and jobs: lists of parts (items, members)."""

    def __init__(self, threads, jobs, fault=""):
        self.n, self.fault = threads, fault
        # Parts of all jobs in a row; None: a job is done.
        self.parts = [p for job in jobs for p in [*job, None]]
        zero = (0,) * threads
        shared = Shared(-1, 0, 1, (), ((0, 0),) * threads, zero, 0, 1, zero, 0)
        caller = Thread(at="begin")
        self.start = (shared, (caller, *(Thread() for _ in range(threads - 1))))

    def is_over(self, state):
        return state[1][0].at == "over"

    def explore(self):
        """Try all interleavings; return how many states there are, or raise BrokenError."""
        before = {self.start: []}
        todo, ends = [self.start], []
        while todo:
            state = todo.pop()
            if self.is_over(state):
                ends.append(state)
                continue
            for i in range(self.n):
                for after in self.step(state, i):
                    if after not in before:
                        before[after] = []
                        todo.append(after)
                    before[after].append(state)
        # From wherever threads can get, they can get to the end: nobody sleeps for ever.
        reached = set(ends)
        while ends:
            for state in before[ends.pop()]:
                if state not in reached:
                    reached.add(state)
                    ends.append(state)
        if len(reached) < len(before):
            raise BrokenError("threads wait for ever")
        return len(before)

    def step(self, state, i):
        shared, threads = state
        thread = threads[i]
        if thread.blocked or thread.at == "over":
            return
        for s, t, notified in getattr(self, thread.at)(shared, thread, i):
            others = put(threads, i, t)
            if notified is not None and others[notified].blocked:
                others = put(others, notified, others[notified]._replace(blocked=False))
            yield s, others

    # ------------------------------------------------------------- parts

    def next_part(self, s):
        """Return the shared state with the next part; count 0: the job is done."""
        if s.part >= 0 and self.parts[s.part] is not None and s.done != (1,) * s.count:
            raise BrokenError(f"part {s.part} ends with items done {s.done} times")
        part = s.part + 1
        count, members = self.parts[part] or (0, s.members)
        return s._replace(part=part, count=count, members=members, done=(0,) * count)

    def alone(self, s):
        while s.count and s.members == 1:
            s = self.next_part(s._replace(done=(1,) * s.count))
        return s

    def begin(self, s, t, i):
        if s.part + 1 == len(self.parts):
            yield s, t._replace(at="over"), None
            return
        s = self.alone(self.next_part(s))
        yield s, (self.opened(t, s, 1) if s.count else t), None

    def opened(self, t, s, rounds):
        return t._replace(at="opening", turn=0, among=s.members, count=s.count, rounds=rounds)

    def opening(self, s, t, i):
        """Count the items; of each seat set the end and open it; change the round."""
        actions = ["missing", *(a for k in range(t.among) for a in (("end", k), ("open", k)))]
        if self.fault == "opens before it counts":
            actions = [*actions[1:], "missing"]
        if t.turn == len(actions):
            t = t._replace(at="waking", turn=-1, most=1, back="attend")
            yield s._replace(round=s.round + t.rounds), t, None
            return
        match actions[t.turn]:
            case "missing":
                s = s._replace(missing=t.count)
            case "end", k:
                s = s._replace(end=put(s.end, k, t.count * (k + 1) // t.among))
            case "open", k:
                share = t.count * (k + 1) // t.among - t.count * k // t.among
                s = s._replace(open=put(s.open, k, (t.among, share)))
        yield s, t._replace(turn=t.turn + 1), None

    def attend(self, s, t, i):
        if i == 0 and s.round % 2:
            yield s, Thread(at="begin", woken=t.woken), None
        else:
            yield s, t._replace(at="look", seen=s.round, seat=0, finished=0), None

    def look(self, s, t, i):
        if t.seat == self.n:
            t = t._replace(seat=0, at="report" if t.finished else "say")
            yield s, t, None
            return
        read = s.open[(i + t.seat) % self.n]
        mine = read[1] > 0 and (i < read[0] or self.fault == "every thread may take")
        t = t._replace(at="take", read=read) if mine else t._replace(seat=t.seat + 1)
        yield s, t, None

    def take(self, s, t, i):
        seat = (i + t.seat) % self.n
        if s.open[seat] != t.read and self.fault != "takes without comparing":
            yield s, t._replace(at="look"), None
            return
        members, left = t.read
        s = s._replace(open=put(s.open, seat, (members, left - 1)))
        t = t._replace(at="do")
        if t.woken:
            t = t._replace(at="waking", turn=-1, among=members, most=2, back="do", woken=False)
        yield s, t, None

    def do(self, s, t, i):
        members, left = t.read
        item = s.end[(i + t.seat) % self.n] - left
        if not 0 <= item < s.count or members != s.members or i >= members:
            raise BrokenError(f"thread {i} of {s.members} does item {item} of {s.count}")
        if s.done[item]:
            raise BrokenError(f"item {item} is done twice")
        s = s._replace(done=put(s.done, item, 1))
        yield s, t._replace(at="look", read=(0, 0), finished=t.finished + 1), None

    def report(self, s, t, i):
        s = s._replace(missing=s.missing - t.finished)
        t = t._replace(finished=0, at="say" if s.missing else "serial")
        yield s, t, None

    def serial(self, s, t, i):
        s = self.next_part(s)
        if i == 0:
            s = self.alone(s)
        yield s, (self.opened(t, s, 2) if s.count else t._replace(at="finish")), None

    def finish(self, s, t, i):
        t = t._replace(at="waking", turn=-1, among=1, most=1, back="attend")
        if self.fault == "the caller is not woken":
            t = t._replace(at="attend")
        yield s._replace(round=s.round + 1), t, None

    # ------------------------------------------------------------- waiting

    def say(self, s, t, i):
        """Say that it sleeps: first by its seat, then by the count."""
        if t.turn == 0:
            if self.fault == "looks before it says that it sleeps" and s.round != t.seen:
                yield s, t._replace(at="attend"), None
                return
            yield s._replace(asleep=put(s.asleep, i, 1)), t._replace(turn=1), None
        else:
            t = t._replace(turn=0, at="sleep")
            if self.fault == "looks before it says that it sleeps":
                t = t._replace(at="block")
            yield s._replace(sleepers=s.sleepers + 1), t, None

    def sleep(self, s, t, i):
        yield s, t._replace(at="wake" if s.round != t.seen else "block"), None

    def block(self, s, t, i):
        """The system call: it blocks if the thread is still said to sleep."""
        if s.asleep[i]:
            yield s, t._replace(at="sleep", blocked=True), None
        else:
            yield s, t._replace(at="wake"), None

    def wake(self, s, t, i):
        if t.turn == 0:
            yield s._replace(asleep=put(s.asleep, i, 0)), t._replace(turn=1), None
        else:
            t = Thread(woken=True)
            yield s._replace(sleepers=s.sleepers - 1), t, None

    def waking(self, s, t, i):
        """Wake at most `most` of the first `among` threads: read the count, then each seat."""
        gone = t._replace(at=t.back, back="", turn=0, most=0, among=0, count=0, rounds=0)
        if self.fault == "nobody is woken":
            yield s, gone, None
        elif t.turn < 0:
            yield s, (t._replace(turn=0) if s.sleepers else gone), None
        elif t.turn == t.among or t.most == 0:
            yield s, gone, None
        elif s.asleep[t.turn] == 0:
            yield s, t._replace(turn=t.turn + 1), None
        else:  # the exchange and the notification; between the two nothing can happen that matters
            s = s._replace(asleep=put(s.asleep, t.turn, 0))
            yield s, t._replace(turn=t.turn + 1, most=t.most - 1), t.turn
