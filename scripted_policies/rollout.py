"""Episodes the slow way, step by step: the definition that ``envs.simulate`` is tested against."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

import envs
from envs.centered_view import CenteredViewEnv
from envs.episode import Trajectory
from envs.spec import EnvSpec
from scripted_policies import POLICIES


def roll_out(env: EnvSpec, env_seed: int, policy_seed: int) -> tuple[Trajectory, UInt8[np.ndarray, "T height width 3"]]:
    """An episode of the scripted policy in a 2D environment, and the environment's own observations of it."""
    world = envs.make(env.name, **env.gym_kwargs)
    assert isinstance(world, CenteredViewEnv)
    observation, _ = world.reset(seed=env_seed)
    frames, tiles, actions, rewards = [observation], [world.tiles()], [-1], [0.0]
    for action in POLICIES[env.policy](world, np.random.default_rng(policy_seed)):
        observation, reward, terminated, truncated, _ = world.step(action)
        frames.append(observation)
        tiles.append(world.tiles())
        actions.append(int(action))
        rewards.append(float(reward))
        if terminated or truncated:
            break
    trajectory = Trajectory(
        state={"tiles": np.array(tiles)},
        previous_action=np.array(actions, np.int64),
        reward=np.array(rewards, np.float32),
        facts=world.facts,
    )
    return trajectory, np.array(frames)
