"""The procedural street: projection, labels against independent ray casting, repeatability, argument checks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import brentq

from ls_ood_monitor.core.classes import CLASS_NAMES
from ls_ood_monitor.errors import ConfigError
from ls_ood_monitor.street import CAMERAS, StreetDrive
from ls_ood_monitor.street.camera import MAX_ANGLE, MOUNTS, project, radius, rays, rotation
from ls_ood_monitor.street.world import Thing, World

VOID, ROAD, LANEMARKS, CURB, PERSON, VEHICLES, SIGN = (
    CLASS_NAMES.index(n) for n in ("void", "road", "lanemarks", "curb", "person", "vehicles", "traffic_sign")
)
GREY = np.full((10, 3), 120, np.float32)


def _reference_ray(camera: str, plan: dict, u: int, v: int, width: int, height: int) -> tuple[np.ndarray, float]:
    """Street-frame ray of a pixel and its angle off the axis, by root finding and plain angles."""
    mount = MOUNTS[camera]
    x = (u + 0.5) * 1280 / width - (640 + mount.offset[0])
    y = (v + 0.5) * 966 / height - (483 + mount.offset[1])
    r = math.hypot(x, y)
    theta = brentq(lambda th: 339.749 * th - 31.988 * th**2 + 48.275 * th**3 - 7.201 * th**4 - r, 0.0, 2.6)
    phi = math.atan2(y, x) + math.radians(plan["roll"])
    right, down, ahead = math.sin(theta) * math.cos(phi), math.sin(theta) * math.sin(phi), math.cos(theta)
    pitch, yaw = math.radians(mount.pitch + plan["pitch"]), math.radians(mount.yaw)
    forward = ahead * math.cos(pitch) - down * math.sin(pitch)
    up = -ahead * math.sin(pitch) - down * math.cos(pitch)
    ray = [forward * math.cos(yaw) + right * math.sin(yaw), forward * math.sin(yaw) - right * math.cos(yaw), up]
    return np.array(ray), theta


def _camera_position(camera: str, plan: dict) -> np.ndarray:
    mount = MOUNTS[camera]
    inner = plan["median"] + 0.35 if plan["median"] else 0.0
    ego_y = -(inner + (plan["ego_lane"] + 0.5) * plan["lane_width"])
    return np.array([mount.x, ego_y + mount.y, mount.z + plan["camera_lift"]])


class _FixedWorld(World):
    """A street that holds the given things and no crossing."""

    def __init__(self, *things: Thing) -> None:
        self._fixed = things

    def things(self, t_s: float, ego_x: float) -> list[Thing]:
        return list(self._fixed)

    def crossings(self, ego_x: float, reach: float) -> list[float]:
        return []


def test_rays_match_an_independent_inverse_and_project_back() -> None:
    """Each pixel's ray has the angle a root finder gives, and projecting the ray returns to the pixel."""
    width, height = 320, 240
    for camera in CAMERAS:
        table, theta = rays(MOUNTS[camera], width, height)
        pixels, _ = project(table, MOUNTS[camera], width, height)
        grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
        assert np.abs(pixels - grid).max() < 2e-3
        for u, v in ((0, 0), (17, 200), (160, 120), (300, 33)):
            ray, expected = _reference_ray(camera, {"pitch": 1.5, "roll": -0.7}, u, v, width, height)
            assert theta[v, u] == pytest.approx(expected, abs=1e-5)
            np.testing.assert_allclose(table[v, u] @ rotation(MOUNTS[camera], 1.5, -0.7), ray, atol=1e-5)


def test_radius_grows_over_the_whole_field_of_view() -> None:
    """The polynomial has one inverse wherever the renderer uses it."""
    assert (np.diff(radius(np.linspace(0, 2.6, 1000))) > 0).all()


def test_sizes_look_alike() -> None:
    """A ray leaves the picture at the same relative place at 640x480 and 320x240."""
    points = np.array([[0.3, 0.2, 1.0], [-2.0, 0.5, 0.4]])
    large, _ = project(points, MOUNTS["front"], 640, 480)
    small, _ = project(points, MOUNTS["front"], 320, 240)
    np.testing.assert_allclose((large + 0.5) / 2, small + 0.5, atol=1e-4)


@pytest.mark.parametrize("seed", [2, 6, 17])
def test_labels_of_the_bare_street_agree_with_ray_marching(seed: int) -> None:
    """Without traffic, labels equal those of rays marched down to the street's cross-section."""
    drive, t_s, width, height = StreetDrive(seed, _FixedWorld()), 4.0, 160, 120
    plan = drive.description
    ego_x = plan["speed"] * t_s + plan["speed_swing"] * (1 - math.cos(0.35 * t_s))
    rng = np.random.default_rng(seed)
    checked = dict.fromkeys((VOID, ROAD, LANEMARKS, CURB), 0)
    for camera in CAMERAS:
        _, labels = drive.render(camera, t_s, width, height)
        origin = _camera_position(camera, plan)
        for u, v in zip(rng.integers(0, width, 700), rng.integers(height // 4, height, 700), strict=True):
            ray, theta = _reference_ray(camera, plan, int(u), int(v), width, height)
            if theta > MAX_ANGLE - 0.02 or _sees_ego_car(ray, origin, plan):
                continue
            expected = _march(ray, origin, plan, ego_x)
            if expected is not None:
                checked[expected] += 1
                assert labels[v, u] == expected, (camera, u, v)
    assert min(checked.values()) > 8, checked


def _march(ray: np.ndarray, origin: np.ndarray, plan: dict, ego_x: float) -> int | None:
    """Class where a ray meets the street; None where a boundary is too close to call or the ray ends elsewhere."""
    points = origin + np.arange(0.0, 20.0, 0.005)[:, None] * ray
    across, curb_y = np.abs(points[:, 1]), _curb_y(plan)
    raised = (across > curb_y) | (across < plan["median"])
    below = points[:, 2] <= np.where(raised, plan["curb_height"], 0.0)
    if not below.any():
        return None
    i = int(np.argmax(below))
    x, y, z = points[i, 0] + ego_x, across[i], points[i, 2]
    if y > curb_y + plan["curb_width"] + 1.5:
        return None  # buildings are another matter
    if raised[i] and not raised[i - 1]:
        return CURB if 0.02 < z < plan["curb_height"] - 0.02 else None
    inner = plan["median"] + 0.35 if plan["median"] else 0.0
    borders = {curb_y, curb_y + plan["curb_width"], plan["median"], max(plan["median"] - plan["curb_width"], 0.0)}
    if min(abs(y - border) for border in borders if border) < 0.02:
        return None
    if raised[i]:
        on_curb = y < curb_y + plan["curb_width"] if y > curb_y else y > plan["median"] - plan["curb_width"]
        return CURB if on_curb else VOID
    solid = [_outer_line(plan)]
    dashed = [inner + k * plan["lane_width"] for k in range(1, plan["lanes"])]
    if plan["median"]:
        solid.append(inner)
    elif plan["lanes"] > 1:
        solid.append(0.13)
    else:
        dashed.append(0.0)
    phase = x % (plan["dash_length"] + plan["dash_gap"])
    for line in solid + dashed:
        if abs(abs(y - line) - 0.075) < 0.02:
            return None
        if abs(y - line) < 0.075:
            if line in dashed and min(phase, abs(phase - plan["dash_length"])) < 0.05:
                return None
            return LANEMARKS if line in solid or phase < plan["dash_length"] else ROAD
    return ROAD


def _outer_line(plan: dict) -> float:
    inner = plan["median"] + 0.35 if plan["median"] else 0.0
    return inner + plan["lanes"] * plan["lane_width"]


def _curb_y(plan: dict) -> float:
    return _outer_line(plan) + plan["shoulder"] + plan["parking"]


def _sees_ego_car(ray: np.ndarray, origin: np.ndarray, plan: dict) -> bool:
    """Whether the ray passes within the ego car's length and width, below a metre."""
    ego_y = _camera_position("front", plan)[1]
    points = origin + np.arange(0.0, 4.0, 0.01)[:, None] * ray
    low = (points[:, 2] > 0.2) & (points[:, 2] < 1.05)
    return bool((low & (np.abs(points[:, 0]) < 2.2) & (np.abs(points[:, 1] - ego_y) < 0.96)).any())


def test_a_sign_covers_the_rays_that_meet_its_disc() -> None:
    """A disc of known place and radius has the label traffic_sign inside and not outside."""
    drive = StreetDrive(5, _FixedWorld(Thing("sign_disc_x", 0.0, -6.0, 0.0, GREY, x=7.0)))
    plan = drive.description
    _, labels = drive.render("front", 1.0, 640, 480)
    origin = _camera_position("front", plan)
    lift = plan["curb_height"] * (abs(-6.0) > _curb_y(plan))
    inside = 0
    for v, u in np.argwhere(np.ones((480, 640), bool))[::31]:
        ray, theta = _reference_ray("front", plan, int(u), int(v), 640, 480)
        if ray[0] < 0.05 or theta > 1.5:
            continue
        hit = origin + ray * (7.0 - origin[0]) / ray[0]
        off = math.hypot(hit[1] + 6.0, hit[2] - 2.25 - lift)
        if off < 0.36:
            inside += 1
            assert labels[v, u] == SIGN
        elif off > 0.48:
            assert labels[v, u] != SIGN
    assert inside > 5


def test_a_bus_alongside_reaches_the_edge_of_the_field_of_view() -> None:
    """The flank of a bus beside the camera is whole up to the edge of the lens, also where it passes behind."""
    plan = StreetDrive(5).description
    origin = _camera_position("front", plan)
    bus_y = origin[1] + 3.6
    bus = Thing("bus", 0.0, float(bus_y), 0.0, GREY, x=1.5)
    _, labels = StreetDrive(5, _FixedWorld(bus)).render("front", 1.0)
    checked = 0
    for v, u in np.argwhere(np.ones((480, 640), bool))[::37]:
        ray, theta = _reference_ray("front", plan, int(u), int(v), 640, 480)
        if ray[1] < 0.05 or theta > MAX_ANGLE - 0.03:
            continue
        hit = origin + ray * (bus_y - 1.22 - origin[1]) / ray[1]
        if abs(hit[0] - 1.5) < 5.0 and 0.65 < hit[2] < 1.1:
            checked += 1
            assert labels[v, u] == VEHICLES
    assert checked > 20


def test_nearer_things_cover_longer_ones_behind() -> None:
    """A pedestrian between the camera and the far end of a bus stays visible although the bus begins nearer."""
    y = float(_camera_position("left", StreetDrive(5).description)[1])
    bus = Thing("bus", 0.0, y + 5.0, 0.0, GREY, x=4.0)
    person = Thing("walk0", 0.0, y + 3.0, 0.0, GREY, x=6.0)
    for things in ((bus, person), (person, bus)):
        _, labels = StreetDrive(5, _FixedWorld(*things)).render("left", 1.0)
        assert (labels == PERSON).sum() > 150
    behind = Thing("walk0", 0.0, y + 7.5, 0.0, GREY, x=4.0)
    assert not (StreetDrive(5, _FixedWorld(bus, behind)).render("left", 1.0)[1] == PERSON).any()


def test_a_flank_across_the_optical_axis_is_drawn() -> None:
    """An outline that runs round the optical axis in front of the camera fills the picture's centre."""
    y = float(_camera_position("left", StreetDrive(5).description)[1])
    bus = Thing("bus", 0.0, y + 2.2, 0.0, GREY, x=3.0)
    _, labels = StreetDrive(5, _FixedWorld(bus)).render("left", 1.0)
    assert labels[240, 320] == VEHICLES


def test_equal_seeds_give_equal_frames_in_any_order() -> None:
    """A frame depends on seed, camera, time and size alone, not on what was rendered before."""
    fresh, used = StreetDrive(11), StreetDrive(11)
    for camera in CAMERAS:
        used.render(camera, 9.0, 96, 64)
    for a, b in zip(fresh.render("rear", 3.3, 160, 120), used.render("rear", 3.3, 160, 120), strict=True):
        np.testing.assert_array_equal(a, b)
    assert fresh.description == used.description


def test_rendering_leaves_the_global_generator_alone() -> None:
    """No frame draws from numpy's global random state."""
    before = np.random.get_state()[1].copy()
    StreetDrive(4).render("front", 1.0, 96, 64)
    np.testing.assert_array_equal(before, np.random.get_state()[1])


def test_drives_differ_and_frames_of_a_drive_share_its_values() -> None:
    """What a drive draws differs between seeds and does not change while it is rendered."""
    first, second = StreetDrive(1), StreetDrive(2)
    assert first.description != second.description
    before = dict(first.description)
    image, _ = first.render("front", 5.0, 160, 120)
    other, _ = second.render("front", 5.0, 160, 120)
    assert np.abs(image.astype(int) - other).mean() > 10
    assert first.description == before


def test_consecutive_frames_are_alike_but_not_equal() -> None:
    """Frames 0.2 s apart differ less than frames 15 s apart."""
    drive = StreetDrive(3)
    now, labels = drive.render("front", 10.0, 320, 240)
    soon, soon_labels = drive.render("front", 10.2, 320, 240)
    late, late_labels = drive.render("front", 25.0, 320, 240)
    gap, late_gap = (np.abs(now.astype(int) - x).mean() for x in (soon, late))
    assert 0.5 < gap < 0.7 * late_gap
    assert 0 < (labels != soon_labels).mean() < (labels != late_labels).mean()


def test_every_class_appears_and_nothing_else() -> None:
    """Over a few drives each of the ten classes covers at least 0.1 % of the pixels."""
    counts, shape = np.zeros(256), (120, 160)
    for seed in range(20, 26):
        drive = StreetDrive(seed)
        for camera in CAMERAS:
            image, labels = drive.render(camera, 20.0, shape[1], shape[0])
            assert image.shape == (*shape, 3)
            assert labels.shape == shape
            assert image.dtype == labels.dtype == np.uint8
            counts += np.bincount(labels.ravel(), minlength=256)
    share = counts / counts.sum()
    assert counts[10:].sum() == 0
    assert (share[:10] > 0.001).all()
    assert 0.25 < share[ROAD] < 0.45


def test_the_street_goes_on() -> None:
    """After an hour there is still road, and there are still buildings above the horizon."""
    image, labels = StreetDrive(7).render("front", 3600.0, 160, 120)
    assert (labels == ROAD).mean() > 0.2
    assert image[20:40].std() > 5


@pytest.mark.parametrize(
    ("camera", "t_s", "width", "height", "rule"),
    [
        ("top", 0.0, 160, 120, "no camera 'top'"),
        ("front", -0.1, 160, 120, "0 or larger"),
        ("front", math.nan, 160, 120, "finite"),
        ("front", "1", 160, 120, "finite"),
        ("front", 0.0, 63, 120, "width"),
        ("front", 0.0, 160, 4097, "height"),
        ("front", 0.0, 160.0, 120, "width"),
    ],
)
def test_bad_render_arguments_are_refused(camera: str, t_s: float, width: int, height: int, rule: str) -> None:
    """A wrong argument gives an error that names the rule."""
    with pytest.raises(ConfigError, match=rule):
        StreetDrive(0).render(camera, t_s, width, height)


@pytest.mark.parametrize("seed", [-1, 1.5, "1", True])
def test_bad_seeds_are_refused(seed: object) -> None:
    """A seed is a whole number, 0 or larger."""
    with pytest.raises(ConfigError, match="seed"):
        StreetDrive(seed)  # type: ignore[arg-type]
