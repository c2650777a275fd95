"""Post what an agent has left, at checkpoints and once it has ended: its work, and what it says of
it. All of it is untrusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from functions.agent_pod.environment import Failure, Places, post
from functions.agent_pod.state import store_state
from functions.agent_pod.untrusted_files import MAX_BYTES, read_bytes, read_line, read_text
from functions.agent_pod.work import Work, find_work, make_bundle
from functions.kit.clients.git import GitError
from functions.kit.errors import shortened
from functions.untrusted_text import redacted

MAX_USAGE_BYTES = 10_000
# Of the pod's six hours after the agent's end: what cannot be posted in this time is lost with it.
POST_S = 6 * 3600.0 - 120.0
MAX_NAMED = 20
MAX_PROBLEM = 2000  # characters
# A session's files grow with each message: where nothing else is new, the bundle is posted at every
# so many checkpoints.
STATE_EVERY = 5


class Sidecar:
    """Posts what the agent has done and used so far, where that is new, and all at its end."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self._kept: tuple[Work | None, str, str] = (None, "", "")
        self._since_bundle = STATE_EVERY
        self._named: set[tuple[str, str]] = set()

    def checkpoint(self) -> None:
        """Post once; what fails is tried with the next one, as it may be the last."""
        session, usage = read_session(self.places), read_usage(self.places)
        body: dict[str, Any] = {"session": session, "usage": usage}
        work = self._kept[0]
        self._since_bundle += 1
        try:
            found = self._find()
            if found != work and (_own(found) != _own(work) or self._since_bundle >= STATE_EVERY):
                body["bundle"] = make_bundle(self.places, found) if found else None
                work = found
        except Exception as failure:
            # Whatever the agent has broken, and with what, hides nothing of what it uses.
            print(f"its work is not kept yet: {failure}", flush=True)
        kept = (work, session, usage)
        if kept == self._kept:
            return
        try:
            post(self.places, "checkpoint", body, 0.0)
        except (Failure, OSError) as failure:
            print(f"nothing is kept yet: {failure}", flush=True)
        else:
            self._kept = kept
            if "bundle" in body:
                self._since_bundle = 0

    def collect(self) -> None:
        """Post the outputs file, and a bundle of what is new since the base."""
        places = self.places
        found: dict[str, Any] = {"outputs": None, "bundle": None, "problems": []}
        for name, take in (("outputs", partial(read_outputs, places)), ("bundle", self._bundle)):
            try:
                found[name] = take()
            except Exception as failure:  # the other is posted all the same
                # Cut, as agent-outputs refuses what is longer, and with it all that was done.
                problem = str(failure) or type(failure).__name__
                found["problems"].append(shortened(problem, MAX_PROBLEM))
        found |= {"session": read_session(places), "usage": read_usage(places)}
        post(places, "outputs", found, POST_S)
        print("posted", "no commits" if found["bundle"] is None else "commits", *found["problems"])

    def _bundle(self) -> str | None:
        found = self._find()
        return make_bundle(self.places, found) if found else None

    def _find(self) -> Work | None:
        """Return what the agent has done, None where that is nothing; say once of each file of its
        state that it is not kept."""
        left_out: dict[str, str] = {}
        found = find_work(self.places, left_out)
        if found is None:
            return None
        self._name("its work", left_out)
        try:
            state, left_out = store_state(self.places)
            self._name("its state", left_out)
            found = replace(found, state=state)
        except (GitError, OSError) as failure:  # work is worth more
            print(f"its state is not kept: {failure}", flush=True)
        return found if found.own or found.state else None

    def _name(self, what: str, left_out: Mapping[str, str]) -> None:
        new = [name for name in left_out if (what, name) not in self._named]
        for name in new[:MAX_NAMED]:
            self._named.add((what, name))
            # Quoted: it may be no UTF-8, which standard output would refuse, and have line ends.
            print(f"not kept of {what}: {redacted(name)!a} {left_out[name]}", flush=True)


def read_outputs(places: Places) -> str | None:
    """The text of the outputs file; None without one."""
    try:
        text = read_bytes(places.outputs, MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Failure(f"the outputs file: {error.strerror}") from None
    if len(text) > MAX_BYTES:
        raise Failure(f"the outputs file has more than {MAX_BYTES} bytes")
    return text.decode(errors="replace")


def read_session(places: Places) -> str:
    """The id of the agent's session, as far as it has left one; one line."""
    return read_line(places.session)[:200]


def read_usage(places: Places) -> str:
    """The usage file of the agent, as far as it has left one of a plausible size; its tokens are
    those that the model's sidecar has counted, where these are more."""
    text = read_text(places.usage)
    text = text if len(text) <= MAX_USAGE_BYTES else ""
    counted = read_text(places.model_usage) if places.model_usage else ""
    if not counted:
        return text
    from functions.events.agent import AgentUsage  # after the start, which is to be quick

    try:
        reported = AgentUsage.model_validate_json(text or "{}")
    except ValueError:
        reported = AgentUsage()
    return reported.max_with(AgentUsage.model_validate_json(counted)).model_dump_json()


def _own(work: Work | None) -> tuple[str, str | None] | None:
    return work.own if work else None
