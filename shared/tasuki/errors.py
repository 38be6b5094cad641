"""Every error that Tasuki raises on purpose, in one tree.

    TasukiError
    ├── SettingsError           a file or an option is wrong                    exit 2
    │   ├── UnknownSite         an order names a site that the run does not have     10
    │   ├── TooFewSites         a relay needs sites                                  11
    │   ├── RunExists           the name is taken                                    12
    │   ├── TooManySites        their records do not fit into a message              13
    │   └── FewerRounds         the run has more already                             14
    ├── TrainerError            the site's own code                                  20
    │   ├── TrainerNotFound     it cannot be imported                                21
    │   ├── TrainerRaised       it raised                                            22
    │   ├── TrainerDied         its process ended without a result                   23
    │   ├── TrainerOverdue      it took too long, or showed no progress              24
    │   └── CannotEvaluate      it has nothing that scores weights                   25
    ├── WeightsError            weights that cannot be used                          30
    │   ├── BadWeights          not a well-formed container                          31
    │   ├── DigestMismatch      other bytes than were promised                       32
    │   ├── NonFiniteWeights    NaN, or a new Inf                                    33
    │   ├── ManifestMismatch    other tensors than the run's                         34
    │   └── GateRejected        the result fails a check of the run                  35
    ├── StorageError            the disk                                             40
    │   ├── DiskFull                                                                 41
    │   ├── NewerData           written by a newer Tasuki                            42
    │   ├── DataInUse           another process has the folder                       43
    │   └── LedgerBroken        the chain does not verify                            44
    ├── MessageError            bytes from elsewhere that are no message of ours     50
    │   ├── TurnTooLarge        a round's records do not fit into a message          51
    │   └── CannotSeal          weights must be sealed, and there is nobody to do so for  52
    ├── TransportError          the broker                                           60
    │   ├── Unroutable          nobody has that queue                                61
    │   ├── BrokerUnreachable                                                        62
    │   ├── NotPermitted                                                             63
    │   ├── AnotherController   two for one federation                               64
    │   └── NotReplicated       queues without all their replicas                    65
    └── RunError                how a run ended
        ├── RunFailed                                                                70
        ├── RunStopped                                                               71
        ├── RunPaused                                                                72
        ├── UnknownRun          no run of that name                                  73
        ├── SitesLeftOut        finished, without anything of some sites             74
        ├── NotExtended         it failed or was stopped                             75
        ├── RunUnderWay         it is not over yet                                   76
        ├── WeightsRemoved      only its ledger is left                              77
        └── NoScores            no site has scored by a metric that was asked for    78

A class's docstring is the sentence an operator reads when nothing better is known. `exit_code` is
stable: scripts rely on it. `docs/operations.md` has a section for each, and a test checks that.
"""

from __future__ import annotations

import inspect


class TasukiError(Exception):
    """Tasuki could not go on."""

    exit_code = 1

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or inspect.getdoc(type(self)) or "")


class SettingsError(TasukiError):
    """A settings file or an option is wrong; the message names the key and the line."""

    exit_code = 2


class UnknownSite(SettingsError):
    """The order names a site that this run does not have; add it to the sites or fix the name."""

    exit_code = 10


class TooFewSites(SettingsError):
    """There are fewer sites than the run needs; add sites or lower [failure] min_sites."""

    exit_code = 11


class RunExists(SettingsError):
    """A run of this name exists; go on with --resume or choose another name."""

    exit_code = 12


class TooManySites(SettingsError):
    """A round of so many turns fits into no message; have fewer sites, or fewer turns a round."""

    exit_code = 13


class FewerRounds(SettingsError):
    """The run has more rounds than that already; name a larger number, or leave --rounds out."""

    exit_code = 14


class TrainerError(TasukiError):
    """The site's trainer failed; the site's log has its output."""

    exit_code = 20


class TrainerNotFound(TrainerError):
    """The trainer cannot be imported; check its path and what it imports itself."""

    exit_code = 21


class TrainerRaised(TrainerError):
    """The trainer raised an exception; its last frames follow."""

    exit_code = 22


class TrainerDied(TrainerError):
    """The trainer's process ended without a result; look for memory limits and its own output."""

    exit_code = 23


class TrainerOverdue(TrainerError):
    """The turn took longer than the run allows, so that its trainer was ended; see its stacks."""

    exit_code = 24


class CannotEvaluate(TrainerError):
    """The trainer cannot evaluate; write `def evaluate(turn)` beside its `train`."""

    exit_code = 25


class WeightsError(TasukiError):
    """These weights cannot be used."""

    exit_code = 30


class BadWeights(WeightsError):
    """This is no well-formed safetensors file; nothing of it was loaded."""

    exit_code = 31


class DigestMismatch(WeightsError):
    """The bytes are not those that the digest promises; nothing of them was used."""

    exit_code = 32


class NonFiniteWeights(WeightsError):
    """The weights hold NaN, or an infinity where there was none; the message says what to do."""

    exit_code = 33


class ManifestMismatch(WeightsError):
    """The tensors differ from the run's in name, shape or dtype."""

    exit_code = 34


class GateRejected(WeightsError):
    """The result fails a check of the run, so that it was not handed on."""

    exit_code = 35


class StorageError(TasukiError):
    """A file could not be read or written."""

    exit_code = 40


class DiskFull(StorageError):
    """The disk is full; free space and start again with --resume."""

    exit_code = 41


class NewerData(StorageError):
    """A newer Tasuki wrote this data folder; upgrade, or use another folder with --data."""

    exit_code = 42


class DataInUse(StorageError):
    """Another process works in this data folder; stop it or use another folder with --data."""

    exit_code = 43


class LedgerBroken(StorageError):
    """The ledger or a checkpoint is not what was recorded; the first bad row or file is named."""

    exit_code = 44


class MessageError(TasukiError):
    """Bytes arrived that are no message of this version of Tasuki."""

    exit_code = 50

    def __init__(self, message: str | None = None, *, reason: str = "invalid") -> None:
        super().__init__(message)
        self.reason = reason  # one of a few words: what refused messages are counted by


class TurnTooLarge(MessageError):
    """The round's records do not fit into a message; report fewer metrics, or have fewer turns."""

    exit_code = 51


class CannotSeal(MessageError):
    """The weights must be sealed, and the roster has no card of who is to get them; issue one."""

    exit_code = 52


class TransportError(TasukiError):
    """The broker did not do what was asked."""

    exit_code = 60


class Unroutable(TransportError):
    """No queue takes this message; provision the site on the broker first."""

    exit_code = 61


class BrokerUnreachable(TransportError):
    """The broker cannot be reached; check the address, the port and the certificate."""

    exit_code = 62


class NotPermitted(TransportError):
    """The broker refuses this to these credentials; check the user and its permissions."""

    exit_code = 63


class AnotherController(TransportError):
    """Another controller serves this federation; stop that one, or do not start this one."""

    exit_code = 64


class NotReplicated(TransportError):
    """The broker lacks replicas of queues or streams; those are named, with what adds them."""

    exit_code = 65


class RunError(TasukiError):
    """The run did not finish."""

    exit_code = 69


class RunFailed(RunError):
    """The run failed; the reason is in its ledger."""

    exit_code = 70


class RunStopped(RunError):
    """The run was stopped by an operator; its last checkpoint can be exported."""

    exit_code = 71


class RunPaused(RunError):
    """The run is paused; resume it when the reason is gone."""

    exit_code = 72


class UnknownRun(RunError):
    """There is no run of this name here; `tasuki runs` lists them."""

    exit_code = 73


class SitesLeftOut(RunError):
    """The run finished, and some of its sites were skipped each time: its weights lack theirs."""

    exit_code = 74


class NotExtended(RunError):
    """A run that failed or was stopped gets no more rounds; begin another from its weights."""

    exit_code = 75


class RunUnderWay(RunError):
    """The run is not over yet; stop it first, or wait for its end."""

    exit_code = 76


class WeightsRemoved(RunError):
    """The run was removed with its weights; only its ledger is left, and its name stays taken."""

    exit_code = 77


class NoScores(RunError):
    """No site has scored by the metric that was asked for; `tasuki scores` says why of each."""

    exit_code = 78
