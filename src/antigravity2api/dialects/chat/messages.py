"""Messages of Chat Completions → Gemini's contents: turns, their legal order, tool results and thought signatures.

Two passes. The first walks the client's messages into turns and pairs every tool result with its call; the second
writes contents, each turn of calls followed at once by its results, as Google demands.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from antigravity2api.dialects.base import Origin, Toolbox
from antigravity2api.dialects.chat import fields
from antigravity2api.dialects.chat.blocks import calls_apart, results_apart
from antigravity2api.dialects.chat.content import Reader, inner_object, inner_value
from antigravity2api.dialects.chat.signing import Brought, Said, Signer, bare_id, wants_signatures
from antigravity2api.dialects.chat.tools import Names
from antigravity2api.dialects.chat.turns import Asked, Lost, Turn, Waiting, in_steps, with_thoughts
from antigravity2api.errors import invalid
from antigravity2api.gemini.models import ModelProfile
from antigravity2api.gemini.parts import current_turn
from antigravity2api.gemini.signature import ESCAPE, args_of, thread_named
from antigravity2api.gemini.types import Content, Part

_ROLES = "'system', 'developer', 'user', 'assistant', 'tool' and 'function'"
_NO_RESULT = {"error": "no result was returned for this call"}
_TOLD = {"output": "the user tells it in the next message"}
_CONTINUE = "Continue exactly where the text above stops."
_NAMELESS = "unknown_tool"


class History(NamedTuple):
    """The messages in Gemini's terms."""

    system: list[Part]
    contents: list[Content]


def read_messages(
    messages: list[Any], profile: ModelProfile, origin: Origin, box: Toolbox, names: Names, applied: list[str]
) -> History:
    """All messages as legal contents. Notes join ``applied``; raises ``Fault`` with the path of what is wrong."""
    walk = _Walk(profile, origin, box, names, applied)
    for index, message in enumerate(messages):
        walk.read(message, f"messages[{index}]")
    return walk.finish()


def read_plain(messages: list[Any], profile: ModelProfile, box: Toolbox) -> History | None:
    """The usual messages in one look: text alone, the system's first, then the user's to begin and to end with, and
    answers in between of which no signature is known.

    None for whatever else there is, right or wrong; ``read_messages`` makes the same of what is read here.
    """
    system: list[Part] = []
    contents: list[Content] = []
    answers: list[str] = []
    last: str | None = None
    parts: list[Part] | None = None
    try:
        for message in messages:
            role, text = message["role"], message["content"]
            if len(message) != 2 or type(text) is not str or not text:
                return None
            if role == "assistant":
                if "![" in text or text.isspace():  # a picture of an earlier answer, perhaps
                    return None
                answers.append(text)
            elif role != "user":
                if last is not None or role not in ("system", "developer"):
                    return None
                system.append({"text": text})
                continue
            if role == last and parts is not None:
                parts.append({"text": text})
            else:
                parts = [{"text": text}]
                contents.append({"role": "user" if role == "user" else "model", "parts": parts})
                last = role
    except (KeyError, TypeError):  # no message, or one without text
        return None
    if last != "user" or contents[0]["role"] != "user" or (system and not profile.system):
        return None
    if answers and wants_signatures(profile):
        keys = box.text_keys.of(contents[0]["parts"][0]["text"], answers)
        if not box.signatures.none_of(keys):
            return None
    return History(system, contents)


class _Walk:
    """The first pass. Invariant: a turn with calls is never extended, so its results can follow it at once."""

    def __init__(self, profile: ModelProfile, origin: Origin, box: Toolbox, names: Names, applied: list[str]) -> None:
        self.profile = profile
        self.settings = box.settings
        self.names = names
        self.applied = applied
        self.signer = Signer(profile, origin, box)
        self.reader = Reader(profile, box, applied, self.signer)
        self.system: list[Part] = []
        self.turns: list[Turn] = []
        self.waiting = Waiting()
        self.ids: dict[str, int] = {}
        self.leading = True
        self.called = False
        self.threaded = False

    def read(self, message: Any, path: str) -> None:
        """Take in one message."""
        if not isinstance(message, dict):
            raise fields.wrong_type(path, "an object", message)
        role = message.get("role")
        if role == "user":
            self.leading = False
            content = message.get("content")
            if isinstance(content, str):
                self._said_by_user(content)
            else:
                self._user(self._user_parts(content, f"{path}.content"))
            return
        if role in ("system", "developer"):
            self._system(message, path)
            return
        self.leading = False
        if role == "assistant":
            self._assistant(message, path)
        elif role == "tool":
            self._tool(message, path)
        elif role == "function":
            self._function(message, path)
        else:
            fields.text(message, "role", path)
            if role is None:
                raise fields.missing(f"{path}.role", f"Supported values are: {_ROLES}.")
            raise fields.one_of(f"{path}.role", role, _ROLES)

    def _said_by_user(self, text: str) -> None:
        """A user's text, which may be a tool's result in words: it names the call by its id."""
        named = self.waiting.named_in(text) if self.turns and self.turns[-1].calls else []
        if len(named) == 1:
            named[0].answer = {"output": text}
            return
        for asked in named:  # nobody but the model can tell which words are whose
            asked.answer = dict(_TOLD)
        if text:
            self._user([{"text": text}])

    def _user_parts(self, content: Any, path: str) -> list[Part]:
        """What a user says beside the results of tools."""
        if isinstance(content, list):
            results, content = results_apart(content, path)
            for each in results:
                text, media = self.reader.result(each.content, each.path)
                identity = bare_id(each.identity)
                self._answer(self.waiting.by_id(identity), None, identity, text, media, failed=each.failed)
        return self.reader.parts(content, path)

    def _user(self, parts: list[Part]) -> None:
        if not parts:
            return
        if self.turns and not self.turns[-1].model:
            self.turns[-1].parts.extend(parts)
        else:
            self.turns.append(Turn(False, parts))

    def _system(self, message: dict[str, Any], path: str) -> None:
        parts = self.reader.texts(message.get("content"), f"{path}.content")
        if self.leading or self.settings.mid_system == "hoist":
            self.system.extend({"text": text} for text in parts if text)
        elif any(parts):
            joined = "\n".join(text for text in parts if text)
            self._user([{"text": f"<system>\n{joined}\n</system>"}])

    def _assistant(self, message: dict[str, Any], path: str) -> None:
        self._name_thread()
        self.signer.recall.next_answer()
        content = message.get("content")
        if isinstance(content, list):
            message = calls_apart(message, path, self.applied)
        plain = len(message) == 2 and isinstance(content, str) and "![" not in content
        if plain and content and not self.signer.wanted:
            self._model([{"text": content}])
            return
        parts = self.reader.assistant(message, path)
        calls = fields.array(message, "tool_calls", path) or []
        legacy = fields.mapping(message, "function_call", path)
        brought = self.signer.brought(message, path)
        if not calls and legacy is None:
            self._sign(parts, brought.own or brought.nameless)
            self._model(parts).thoughts += self.signer.thoughts(brought, self.reader.said, None)
            return
        self.called = True
        if any("text" in part for part in parts):
            self._sign(parts, brought.own)
        else:
            brought.nameless = brought.nameless or brought.own
        turn = self._calling(parts) if calls else self._model(parts)  # old functions came one by one
        before = len(turn.calls)
        for position, call in enumerate(calls):
            where = f"{path}.tool_calls[{position}]"
            self._call(fields.item(call, where), where, position, turn, brought)
        if legacy is not None and not calls:
            self._call({"type": "function", "function": legacy}, path, 0, turn, brought, "function_call")
        if not turn.thoughts and len(turn.calls) > before:
            turn.thoughts += self.signer.thoughts(brought, self.reader.said, turn.calls[before].known)

    def _name_thread(self) -> None:
        """Name the conversation by its first text before anything is looked up by what it says."""
        if self.threaded:
            return
        self.threaded = True
        first = next((turn for turn in self.turns if turn.parts), None)
        parts = first.parts if first is not None else []
        if self.system and not self.profile.system:
            parts = self.system
        elif first is None:
            parts = [{"text": self.settings.filler}]
        self.signer.recall.thread = thread_named(next((part["text"] for part in parts if "text" in part), ""))

    def _sign(self, parts: list[Part], signature: str | None) -> None:
        """The client's own signature of a text, where none is remembered for it."""
        if signature is None or self.signer.is_foreign(signature):
            return
        if not any("text" in part and "thoughtSignature" in part for part in parts):
            _sign_text(parts, signature)

    def _model(self, parts: list[Part]) -> Turn:
        if self.turns and self.turns[-1].model and not self.turns[-1].calls:
            self.turns[-1].parts.extend(parts)
            return self.turns[-1]
        turn = Turn(True, parts)
        self.turns.append(turn)
        return turn

    def _calling(self, parts: list[Part]) -> Turn:
        """The turn for a message with calls. Nothing stands between two of them: they are one answer, cut in two."""
        last = self.turns[-1] if self.turns else None
        if last is None or not last.calls or parts or len(last.open) < len(last.calls):
            return self._model(parts)
        return last

    def _call(
        self,
        call: dict[str, Any],
        path: str,
        position: int,
        turn: Turn,
        brought: Brought,
        key: str | None = None,
    ) -> None:
        kind = fields.text(call, "type", path) or ("custom" if "custom" in call else "function")
        if kind not in ("function", "custom"):
            raise fields.one_of(f"{path}.type", kind, "'function' and 'custom'")
        where = f"{path}.{key or kind}"
        body = fields.mapping(call, kind, path)
        if body is None:
            raise fields.missing(where)
        client = fields.required_text(body, "name", where)
        if kind == "custom":
            args: dict[str, Any] = {"input": fields.text(body, "input", where) or ""}
        else:
            args = _arguments(body.get("arguments"), f"{where}.arguments")
        identity = bare_id(fields.text(call, "id", path) or "")
        name = self.names.upstream(client)
        signature, known = self.signer.for_call(call, body, path, Said(identity, name, args, position), brought)
        if signature and known is not None:
            args = args_of(known) or args
        part: Part = {"functionCall": {"name": name, "args": args}}
        asked = Asked(identity, client, name, turn, part, known)
        if known is not None and known.call_id:
            asked.sent_id = self._unique(known.call_id)
        elif self.profile.call_ids:
            asked.sent_id = self._unique(identity)
        if asked.sent_id is not None:
            part["functionCall"]["id"] = asked.sent_id
        if signature:
            part["thoughtSignature"] = signature
        turn.parts.append(part)
        turn.calls.append(asked)
        self.waiting.put(asked)

    def _unique(self, identity: str) -> str:
        """The client's id, made one of its kind: histories repeat ``call_0``, and some send none."""
        wanted = identity or "call"
        count = self.ids.get(wanted, 0)
        found = wanted if not count else f"{wanted}_{count + 1}"
        while found in self.ids:
            count += 1
            found = f"{wanted}_{count + 1}"
        self.ids[wanted] = count + 1
        self.ids.setdefault(found, 1)
        return found

    def _tool(self, message: dict[str, Any], path: str) -> None:
        identity = bare_id(fields.text(message, "tool_call_id", path) or "")
        name = fields.text(message, "name", path)
        text, media = self.reader.result(message.get("content"), f"{path}.content")
        asked = self.waiting.by_id(identity) if identity else self.waiting.by_name(name)
        if asked is None and not identity and not name:
            raise fields.missing(f"{path}.tool_call_id", "It names the call that this message answers.")
        self._answer(asked, name, identity, text, media)

    def _function(self, message: dict[str, Any], path: str) -> None:
        name = fields.required_text(message, "name", path)
        text, media = self.reader.result(message.get("content"), f"{path}.content")
        self._answer(self.waiting.by_name(name), name, "", text, media)

    def _answer(
        self,
        asked: Asked | None,
        name: str | None,
        identity: str,
        text: str,
        media: list[Part],
        *,
        failed: bool = False,
    ) -> None:
        response = {"error": text} if failed else _response(text)
        if asked is not None:
            asked.answer = response
            asked.media = media
            return
        # The label names the call: a history that was trimmed is normal, and nothing is lost in silence.
        shown: list[Part] = [{"text": f"[result of {name or identity or _NAMELESS}] {text}"}, *media]
        self._user([*shown])
        self.waiting.lose(identity or None, Lost(name, response, media, self.turns[-1], shown))

    def finish(self) -> History:
        """The second pass: contents in legal order."""
        self.reader.fill()
        self.waiting.settle()
        turns = in_steps([turn for turn in self.turns if turn.parts])
        if turns and turns[-1].model and not turns[-1].calls:
            _trim(turns[-1])
            if not turns[-1].parts:
                turns.pop()
        system = self.system
        if not turns:
            if not system:
                raise invalid("'messages' holds nothing to answer: every message is empty.", "messages")
            turns, system = [Turn(False, list(system))], []
        if system and not self.profile.system:
            turns.insert(0, Turn(False, list(system)))
            system = []
        contents = self._contents(turns)
        if contents[0]["role"] == "model":
            contents.insert(0, {"role": "user", "parts": [{"text": self.settings.filler}]})
        if contents[-1]["role"] == "model" and not self.profile.prefill:
            contents.append({"role": "user", "parts": [{"text": _CONTINUE}]})
        if self.called and self.profile.signatures == "strict" and escape(contents):
            self.applied.append("thought_signature:escape value")
        return History(system=system, contents=contents)

    def _contents(self, turns: list[Turn]) -> list[Content]:
        contents: list[Content] = []
        open_user: list[Part] | None = None
        for turn in turns:
            if turn.model:
                contents.append({"role": "model", "parts": with_thoughts(turn)})
                open_user = None
            elif open_user is not None:
                open_user.extend(turn.parts)
            else:
                open_user = turn.parts
                contents.append({"role": "user", "parts": open_user})
            if turn.calls:
                answers, media = self._answers(turn)
                contents.append({"role": "user", "parts": answers})
                if media:
                    open_user = media
                    contents.append({"role": "user", "parts": media})
        return contents

    def _answers(self, turn: Turn) -> tuple[list[Part], list[Part]]:
        """The results of one turn of calls in call order, and the media that must stand outside of them."""
        answers: list[Part] = []
        outside: list[Part] = []
        for asked in turn.calls:
            response: dict[str, Any] = {"name": asked.name, "response": asked.answer or _NO_RESULT}
            if asked.answer is not None:
                response["response"] = asked.answer
            if asked.sent_id is not None:
                response["id"] = asked.sent_id
            if asked.media and self.profile.multimodal_tool_results:
                # A part of a result knows its data alone, no resolution.
                response["parts"] = [_data_only(part) for part in asked.media]
            elif asked.media:
                for part in asked.media:
                    outside += ({"text": f"[{_noun(part)} from tool {asked.client}]"}, part)
            answers.append({"functionResponse": response})  # type: ignore[typeddict-item]  # built key by key above
        return answers, outside


def _trim(turn: Turn) -> None:
    """A prefill must not end in white space; what a model signed stays as it is."""
    while turn.parts:
        part = turn.parts[-1]
        if "text" not in part or "thoughtSignature" in part:
            return
        text = part["text"].rstrip()
        if text:
            part["text"] = text
            return
        turn.parts.pop()


def _sign_text(parts: list[Part], signature: str) -> None:
    """Put a text signature on the last text part, or on an empty one where the text did not come back."""
    for part in reversed(parts):
        if "text" in part:
            part["thoughtSignature"] = signature
            return
    parts.append({"text": "", "thoughtSignature": signature})


def _arguments(value: Any, path: str) -> dict[str, Any]:
    """A call's arguments as an object: histories are repaired, not refused."""
    if value is None or isinstance(value, dict):
        return value or {}
    if not isinstance(value, str):
        raise fields.wrong_type(path, "a string of JSON", value)
    found = inner_object(value)
    if found is not None:
        return found
    bare = value.strip()
    if not bare or bare == "null":
        return {}
    other = inner_value(bare)
    return {"_raw": value} if other is None else {"value": other}


def _response(text: str) -> dict[str, Any]:
    """A tool's result as the object that Google wants."""
    found = inner_object(text)
    return {"output": text} if found is None else found


def _data_only(part: Part) -> dict[str, Any]:
    return {key: value for key, value in part.items() if key in ("inlineData", "fileData")}


def _noun(part: Part) -> str:
    mime = part.get("inlineData", part.get("fileData", {})).get("mimeType", "")
    return mime.partition("/")[0] if mime.startswith(("image/", "audio/", "video/")) else "file"


def escape(contents: list[Content]) -> bool:
    """Google's documented escape value on each step of the current turn whose first call has no signature.

    Earlier turns are not checked there. Whether there was any such step.
    """
    found = False
    for content in contents[current_turn(contents) :]:
        first = next((part for part in content["parts"] if "functionCall" in part), None)
        if first is not None and "thoughtSignature" not in first:
            first["thoughtSignature"] = ESCAPE
            found = True
    return found
