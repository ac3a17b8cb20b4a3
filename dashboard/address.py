"""The page's address: it holds what is chosen, so that a link can be shared, and going back and forth finds it again.

Widgets that belong in it have a key equal to the name of their parameter, and :func:`keep` is called before they are drawn. Their value
then survives leaving the page, too. The address is written at the end of a run, by :func:`write`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar

import streamlit as st

_KEPT, _WRITTEN, _SHOWN, _FOLLOWED = "address_kept", "address_written", "address_shown", "address_followed"
T = TypeVar("T", str, bool, list[str])

# Streamlit adds an entry to the browser's history whenever the address changes; here a page has one, so that Back is the page before.
_ONE_ENTRY_A_PAGE = """<script>
if (!window.oneEntryAPage) {
  const push = history.pushState;
  history.pushState = function (state, title, url) {
    const isSamePage = new URL(url ?? "", location.href).pathname === location.pathname;
    return (isSamePage ? history.replaceState : push).call(history, state, title, url);
  };
  window.oneEntryAPage = true;
}
</script>"""


def begin() -> None:
    """At the start of a run: see whether the reader went back or forth, or followed a link; then the address says what is chosen."""
    st.html(_ONE_ENTRY_A_PAGE, unsafe_allow_javascript=True)
    state, given = st.session_state, _given()
    state[_SHOWN] = {}
    # a link of the navigation has no parameters
    state[_FOLLOWED] = bool(given) and _WRITTEN in state and given != state[_WRITTEN]


def value(name: str, default: T) -> T:
    """What :func:`keep` would return."""
    state, given = st.session_state, st.query_params.get_all(name)
    kept: dict[str, Any] = state.get(_KEPT, {})
    is_changed_by_widget = name in state and name in kept and state[name] != kept[name]
    if state.get(_FOLLOWED) and name not in state.get(_SHOWN, {}) and not is_changed_by_widget:
        return _read(given, default) if given else default
    found: T = state[name] if name in state else kept.get(name, _read(given, default) if given else default)
    return found


def keep(name: str, default: T, among: Collection[str] | None = None, always: bool = False) -> T:
    """The value of a widget with the key ``name``: of the session, else of the address, else the default; it goes into the address.

    Args:
        among: what it may be; anything else, which an old link can hold, gives way to the default.
        always: in the address even where it is the default.
    """
    state, found = st.session_state, value(name, default)
    if among is not None and not set(found if isinstance(found, list) else [found]) <= set(among):
        found = default
    if name not in state or state[name] != found:
        state[name] = found
    state.setdefault(_KEPT, {})[name] = found
    state.setdefault(_SHOWN, {})[name] = found if always or found != default else type(found)()
    return found


def put(name: str, new: str) -> None:
    """Set a value; "" takes it out of the address."""
    state = st.session_state
    state[name] = state.setdefault(_KEPT, {})[name] = state.setdefault(_SHOWN, {})[name] = new


def put_in_fragment(name: str, new: str) -> None:
    """As :func:`put`, and write it into the address: the run of a fragment does not come to :func:`write`."""
    put(name, new)
    if new != st.query_params.get(name, ""):
        if new:
            st.query_params[name] = new
        else:
            del st.query_params[name]
        st.session_state[_WRITTEN] = _given()


def forget(*names: str) -> None:
    """Drop values, so that they are chosen anew."""
    for name in names:
        st.session_state.pop(name, None)
        st.session_state.get(_KEPT, {}).pop(name, None)
        st.query_params.pop(name, None)


def write_early() -> None:
    """Before a page is drawn, so that the address is whole meanwhile; not in the first run, when the browser does not yet know that a
    change of the address is no new entry of its history."""
    if _WRITTEN in st.session_state:
        _add()


def write() -> None:
    """At the end of a run: the address of what was kept in it. Parameters that nobody keeps stay as they are."""
    _add()
    shown: dict[str, Any] = st.session_state.get(_SHOWN, {})
    for name in st.session_state.get(_KEPT, {}):
        if name in st.query_params and not _written(shown.get(name)):
            del st.query_params[name]
    st.session_state[_WRITTEN] = _given()


def _add() -> None:
    wanted = {name: _written(value) for name, value in st.session_state.get(_SHOWN, {}).items()}
    given = _given()
    if changed := {name: values for name, values in wanted.items() if values and given.get(name) != values}:
        st.query_params.update(changed)


def parameters() -> dict[str, list[str]]:
    """The parameters of a link to another page that keeps the choice."""
    return {**st.session_state.get(_WRITTEN, {}), **_given()}


def _given() -> dict[str, list[str]]:
    return {name: st.query_params.get_all(name) for name in st.query_params}


def _read(values: list[str], like: T) -> T:
    if isinstance(like, bool):
        return values[-1] == "1"
    return list(values) if isinstance(like, list) else values[-1]


def _written(value: Any) -> list[str]:
    if isinstance(value, bool):
        return ["1"] if value else []
    return list(value) if isinstance(value, list) else [str(value)] if value else []
