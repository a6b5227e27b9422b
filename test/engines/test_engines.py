"""Every engine gives what the network gives when it is called by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ls_ood_monitor.core.entropy import latent_entropies
from ls_ood_monitor.engines import TorchEngine, choose_engine, make_engine, onnx_engine
from ls_ood_monitor.errors import ConfigError, MonitorError
from ls_ood_monitor.features import FEATURES
from ls_ood_monitor.vision.mc_dropout import averaging_weights, sample_latents
from ls_ood_monitor.vision.preprocess import normalise

ENCODER = ("entropies", "latent_means", "stage_means", "cells")
EVERY = (*ENCODER, "head_cells", "class_latents", "msp", "energy")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def by_hand(subject, pictures):
    """Entropies by the definition in numpy, means, class ids, of the network called step by step in double precision."""
    network = subject.network
    with torch.inference_mode():
        features = network.encode(normalise(torch.from_numpy(pictures), subject.spec))
        latents = sample_latents(features.high, averaging_weights(subject.bank))
        logits = network.decode(features.low, features.high, (96, 128))
    return {
        "entropies": latent_entropies(latents.double().numpy()),
        "latent_means": features.high.double().mean(dim=(2, 3)).numpy(),
        "class_ids": logits.argmax(dim=1).numpy(),
    }


@pytest.fixture(scope="module", params=["eager", "compile", "onnx"])
def engine(request, subject):
    """Each engine, with features of the encoder and of the decoder."""
    if request.param == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    graphs = subject.graphs(EVERY) if request.param == "onnx" else None
    try:
        return make_engine(request.param, subject.network, subject.spec, EVERY, CPU, graphs=graphs)
    except ConfigError as error:
        pytest.skip(str(error))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_an_engine_gives_what_the_network_gives(engine, subject, pictures, by_hand):
    """Entropies, means and classes of three pictures equal those taken by hand; the decoder's features come with its output."""
    averaging = averaging_weights(subject.bank)
    run = engine.begin(pictures, averaging)
    rows = run.encoder_rows()
    assert set(rows) == set(ENCODER)
    np.testing.assert_allclose(rows["entropies"], by_hand["entropies"], atol=2e-3)
    np.testing.assert_allclose(rows["latent_means"], by_hand["latent_means"], rtol=1e-4, atol=1e-5)
    decoded = run.decoder_output()
    assert set(decoded.rows) == set(EVERY) - set(ENCODER)
    assert decoded.class_ids.dtype == decoded.confidence.dtype == np.uint8
    assert (decoded.class_ids == by_hand["class_ids"]).mean() > 0.999
    assert decoded.confidence.shape == (3, 24, 32)
    assert all(values.dtype == np.float64 for values in (*rows.values(), *decoded.rows.values()))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_a_batch_of_another_size_gives_the_same(engine, subject, pictures):
    """One picture alone scores as it does among three, to float32 accuracy."""
    averaging = averaging_weights(subject.bank)
    together = engine.begin(pictures, averaging).encoder_rows()["cells"]
    alone = engine.begin(pictures[1:2], averaging).encoder_rows()["cells"]
    np.testing.assert_allclose(alone[0], together[1], rtol=1e-4, atol=1e-5)


def test_on_a_cpu_only_onnx_runtime_is_given_a_batch(engine):
    """What perception_node takes for its cameras where no parameter says otherwise."""
    assert engine.preferred_batch_size == (4 if engine.name == "onnx" else 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize(
    ("precision", "limit", "compiled"),
    [
        ("fp32", 1e-3, False),
        ("tf32", 2e-2, False),
        ("fp16", 2e-2, False),
        ("bf16", 1e-1, False),
        ("fp32", 1e-3, True),
        ("bf16", 1e-1, True),
    ],
)
def test_a_captured_graph_gives_what_the_cpu_gives(subject, pictures, by_hand, precision, limit, compiled):
    """CUDA graphs in each precision; a second picture is no copy of the first, and the bank may change."""
    from ls_ood_monitor.profiling.random_network import RandomNetwork

    cuda = torch.device("cuda")
    own = RandomNetwork(subject.settings, 128, 96, 16, cuda)
    own.network.load_state_dict(subject.network.state_dict())
    engine = TorchEngine(own.network, own.spec, EVERY, compiled=compiled, precision=precision)
    averaging = averaging_weights(subject.bank).to(cuda)
    for decode in (True, False):
        run = engine.begin(pictures, averaging, decode=decode)
        rows = run.encoder_rows()
        scale = np.abs(by_hand["latent_means"]).max()
        assert np.abs(rows["latent_means"] - by_hand["latent_means"]).max() <= limit * scale
        assert (run.decoder_output().class_ids == by_hand["class_ids"]).mean() > 1.0 - 5 * limit
    first = engine.begin(pictures[:1], averaging).encoder_rows()["cells"]
    second = engine.begin(pictures[1:2], averaging).encoder_rows()["cells"]
    assert np.abs(first - second).max() > 0.0
    other = averaging_weights(subject.bank.flip(0)).to(cuda)
    assert np.isfinite(engine.begin(pictures[:1], other).encoder_rows()["entropies"]).all()
    np.testing.assert_allclose(engine.begin(pictures[:1], averaging).encoder_rows()["cells"], first, rtol=1e-6)


def test_auto_takes_onnx_on_a_cpu_where_there_are_graphs(monkeypatch):
    """Without graphs, without ONNX Runtime, or on a GPU it is eager."""
    graphs = {"encoder": b"", "decoder": b""}
    monkeypatch.setattr(onnx_engine, "onnxruntime", object())
    assert choose_engine("auto", CPU, graphs) == "onnx"
    assert choose_engine("auto", CPU, {}) == "eager"
    assert choose_engine("auto", torch.device("cuda"), graphs) == "eager"
    monkeypatch.setattr(onnx_engine, "onnxruntime", None)
    assert choose_engine("auto", CPU, graphs) == "eager"
    assert choose_engine("compile", CPU, graphs) == "compile"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "tensorrt"}, "engine is 'tensorrt'"),
        ({"name": "eager", "precision": "int8"}, "precision is 'int8'"),
        ({"name": "eager", "precision": "bf16"}, "needs a GPU"),
        ({"name": "onnx", "graphs": {}}, "holds no exported graphs"),
    ],
)
def test_what_cannot_run_is_refused_in_a_sentence(subject, options, words):
    """Unknown engines and precisions, half precision on a CPU, onnx without graphs."""
    with pytest.raises(ConfigError, match=words):
        make_engine(network=subject.network, spec=subject.spec, features=ENCODER, device=CPU, **options)


def test_a_damaged_graph_is_refused_in_a_sentence(subject):
    """What ONNX Runtime cannot parse is an error of ours, not of its own kind."""
    pytest.importorskip("onnxruntime")
    with pytest.raises(MonitorError, match="cannot use an ONNX graph"):
        make_engine(
            "onnx", subject.network, subject.spec, ENCODER, CPU, graphs={"encoder": b"junk", "decoder": b"junk"}
        )


def test_features_before_the_decoder_need_none(subject, pictures):
    """The encoder graph computes exactly those that are said to come before the decoder."""
    engine = TorchEngine(subject.network, subject.spec, tuple(FEATURES))
    run = engine.begin(pictures[:1], averaging_weights(subject.bank))
    assert set(run.encoder_rows()) == set(ENCODER)
    assert set(run.decoder_output().rows) == set(FEATURES) - set(ENCODER)


def test_each_graph_may_take_half_of_a_gpu_memory_limit(monkeypatch):
    """As torch is limited to a quarter of 8 GB, each graph of ONNX Runtime gets 1 GB; without a limit it is not told any."""
    gpu = torch.device("cuda:1")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=8 * 10**9))
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda device: 0.25)
    limited = onnx_engine.provider_settings(gpu)
    assert limited["device_id"] == 1
    assert limited["gpu_mem_limit"] == 10**9
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda device: 1.0)
    assert onnx_engine.provider_settings(gpu) == {"device_id": 1}
    assert onnx_engine.provider_settings(CPU) == {}
