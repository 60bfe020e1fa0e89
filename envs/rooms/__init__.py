"""Two, Four and Ten Rooms: a tour through rooms in 3D, then the same tour from memory. Also with teleport.

Names: ``two_rooms``, ``four_rooms``, ``ten_rooms``; followed by ``_teleport`` for the versions that are put back into
their own past (``envs.rooms.teleport``); followed by ``_mujoco`` for frames by MuJoCo through OpenGL instead of the
analytic renderer. The analytic one is the default everywhere, so that frames do not depend on graphics libraries.

The lengths are those of the paper; floor plans and policy are ours, since the paper's are not published.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

from envs.episode import Trajectory
from envs.rooms.layouts import LAYOUTS, layout
from envs.rooms.physics import ACTION_NAMES
from envs.rooms.scene import Scene
from envs.rooms.teleport import query_length, start_count, view
from envs.spec import EnvSpec

LENGTHS = {"two_rooms": (301, 200), "four_rooms": (501, 500), "ten_rooms": (1101, 900)}
"""Context and query observations."""
NAMES = tuple(LENGTHS) + tuple(f"{name}_teleport" for name in LENGTHS)
MOST_ATTEMPTS = 20

_NUMBER = {"two_rooms": "two", "four_rooms": "four", "ten_rooms": "ten"}


def parse(name: str) -> EnvSpec | None:
    """The spec of a name as above; None for anything else."""
    rest, mujoco = name.removesuffix("_mujoco"), name.endswith("_mujoco")
    base, teleport = rest.removesuffix("_teleport"), rest.endswith("_teleport")
    if base not in LENGTHS:
        return None
    context, query = LENGTHS[base]
    if teleport:
        query = query_length(context)
        memory = f"What {query} frames of the last {context} steps showed, up to {context} steps ago."
    else:
        memory = f"Wall colours and objects of {_NUMBER[base]} rooms, last seen up to {context + query - 1} steps ago."
    title = "".join(word.title() for word in rest.split("_"))
    return EnvSpec(
        name=name,
        family="rooms",
        gym_id=f"WMBench/{title}-v0",
        gym_kwargs={
            "name": base,
            "steps": context + query - 1,
            "context_steps": context - 1,
            "renderer": "mujoco" if mujoco else "analytic",
            "teleport": teleport,
        },
        image_shape=(64, 64, 3),
        action_names=(*ACTION_NAMES, "teleport") if teleport else ACTION_NAMES,
        context_length=context,
        query_length=query,
        has_reward=False,
        policy="tour_rooms",
        memory=memory,
        paper_episodes={"train": 28_000, "val": 1_000, "test": 1_000},
        default_episodes={"train": 2_000, "val": 100, "test": 200},
        metrics=("teleport_recall",) if teleport else ("error_by_age",),
    )


def _visited(env: Any, poses: np.ndarray) -> list[int]:
    """Rooms in the order in which they were entered."""
    rooms = [env.layout.room_at(float(x), float(y)) for x, y, _ in poses]
    return [room for room, _ in itertools.groupby(room for room in rooms if room >= 0)]


def _walk(env: Any, env_seed: int, policy_seed: int, attempt: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Poses ``(steps + 1, 3)`` and actions ``(steps,)`` of the tour policy."""
    from envs.rooms.tour import policy

    env.reset_state(seed=env_seed)
    poses, actions = [env.pose], []
    # Attempt 0 is the policy as anybody would run it; only an episode that does not show everything gets another.
    rng = np.random.default_rng([policy_seed, attempt] if attempt else policy_seed)
    for action in itertools.islice(policy(env, rng), steps):
        env.advance(action)
        actions.append(action)
        poses.append(env.pose)
    return np.stack(poses), np.array(actions, np.int64)


def _episode(env: Any, spec: EnvSpec, env_seed: int, policy_seed: int) -> Trajectory:
    from envs.rooms.seen import unseen

    context = spec.context_length
    steps = context - 1 if env.teleport else spec.length - 1
    room_count = len(env.layout.rooms)
    for attempt in range(MOST_ATTEMPTS):
        poses, actions = _walk(env, env_seed, policy_seed, attempt, steps)
        visited = _visited(env, poses)
        tours = 1 if env.teleport else 2
        in_order = visited == [(visited[0] + i) % room_count for i in range(tours * room_count + 1)]
        if in_order and not unseen(env.layout, env.scene, poses[:context]):
            break
    else:
        raise RuntimeError(
            f"{spec.name}: none of {MOST_ATTEMPTS} tours from seeds {(env_seed, policy_seed)} shows every wall and "
            "object; raise MOST_ATTEMPTS or leave these seeds out"
        )
    trajectory = Trajectory(
        state={"pose": poses},
        previous_action=np.concatenate([[-1], actions]),
        reward=np.zeros(len(poses), np.float32),
        scene=env.scene.arrays(),
        facts={"attempt": attempt, "rooms": visited},
    )
    return view(trajectory, context, env.return_to) if env.teleport else trajectory


def simulate(spec: EnvSpec, seeds: Sequence[tuple[int, int]]) -> list[Trajectory]:
    """Episodes of the tour policy from pairs ``(env_seed, policy_seed)``.

    An episode in which a wall side or an object does not come into view in the context, or a room out of turn, is
    walked again with the policy's next random numbers (``facts["attempt"]``; seed ``[policy_seed, attempt]``).
    """
    from envs.rooms.environment import RoomsEnv

    env = RoomsEnv(**spec.gym_kwargs)
    return [_episode(env, spec, *pair) for pair in seeds]


def render(spec: EnvSpec, trajectory: Trajectory) -> UInt8[np.ndarray, "T 64 64 3"]:
    """Frames of a trajectory with the renderer that the name of the environment asks for."""
    from envs.rooms.rendering import frame_source

    source = frame_source(spec.gym_kwargs["renderer"])
    return source(layout(spec.gym_kwargs["name"]), Scene(**trajectory.scene), trajectory.state["pose"])


def drawn_from_surfaces(spec: EnvSpec) -> bool:
    """Not where MuJoCo draws."""
    return spec.gym_kwargs["renderer"] == "analytic"


def surfaces(spec: EnvSpec, trajectory: Trajectory) -> Any:
    """``envs.rooms.analytic.Surfaces`` of an episode, for renderers elsewhere."""
    from envs.rooms import analytic

    return analytic.surfaces(layout(spec.gym_kwargs["name"]), Scene(**trajectory.scene))


def renderer_info(spec: EnvSpec) -> dict[str, Any]:
    """Renderer, versions, and fingerprints of reference frames; see ``envs.rooms.fingerprint``."""
    from envs.rooms.fingerprint import fingerprint

    return fingerprint(spec.gym_kwargs["renderer"], spec.gym_kwargs["name"])


def check_renderer(spec: EnvSpec, stored: dict[str, Any]) -> None:
    """``ValueError`` if frames drawn here would differ from those of data with this ``renderer_info``."""
    from envs.rooms.fingerprint import check

    check(stored, spec.gym_kwargs["name"])


def content_age(spec: EnvSpec, trajectory: Trajectory) -> Int64[np.ndarray, "T 1 1"]:
    """For each query frame, steps since what it shows was last in view in the context, rounded; 0 if it never was."""
    from envs.rooms.seen import rooms_content_age

    plan = layout(spec.gym_kwargs["name"])
    age = rooms_content_age(plan, Scene(**trajectory.scene), trajectory.state["pose"], spec.context_length)
    return np.nan_to_num(age).round().astype(np.int64)[:, None, None]


__all__ = [
    "LAYOUTS",
    "LENGTHS",
    "NAMES",
    "check_renderer",
    "content_age",
    "drawn_from_surfaces",
    "parse",
    "render",
    "renderer_info",
    "simulate",
    "start_count",
    "surfaces",
]
