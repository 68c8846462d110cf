#!/usr/bin/python3
"""Makes the demo model from nothing: tokenizer, training, export, test files.

    ./train.py [--work DIR] [--out DIR]

Every batch is a function of the seed and the step, so a run that was stopped
continues from its last checkpoint in the work folder and ends with the same
model.  One thread is used; more do not help at this size.
"""
import argparse
import ctypes
import math
import os
import random
import time
from collections import namedtuple

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import torch                       # noqa: E402  (after the thread settings)
import torch.nn.functional as F    # noqa: E402

import bpe                         # noqa: E402
import generate                    # noqa: E402
from model import Llama            # noqa: E402

BATCH_TOKENS = 4096
WARM_UP = 100
MUON_LR, ADAM_LR = 0.02, 0.002

# The run in phases: the last step of the phase, the share of home documents, the
# weight of the tokens of their answers, the weights of names and things that
# follow from what came before in a story and of those that do not, the kinds of
# questions, and whether a home may have two devices of one kind.
Phase = namedtuple("Phase", "end home_share answer_weight copy_weight free_weight kinds twins")
PHASES = [Phase(5500, 0.40, 2.0, 1.0, 1.0, generate.FIRST_MIX, True),
          Phase(10000, 0.45, 5.0, 1.0, 1.0, generate.SECOND_MIX, True),
          Phase(12500, 0.45, 5.0, 3.0, 1.0, generate.SECOND_MIX, True),
          Phase(20000, 0.45, 8.0, 3.0, 0.2, generate.MIX, True),
          Phase(25000, 0.75, 8.0, 3.0, 0.2, generate.MIX, True),
          Phase(27000, 0.60, 8.0, 3.0, 0.2, generate.MIX, False)]
SPREAD = 12500       # the step at which the colours are spread again

# The learning rate as a share of the largest one, on straight lines between
# these (step, share) points.
RATE = [(-1, 0.0), (99, 1.0), (5500, 1.0), (5500, 0.48), (10000, 0.3), (12500, 0.1333),
        (12500, 0.3), (13000, 0.2538), (14250, 0.0),
        (14250, 0.25), (15150, 0.0),
        (15151, 0.0), (15250, 0.3), (20000, 0.0522),
        (20000, 0.0522), (20100, 0.35), (25000, 0.0),
        (25000, 0.0), (25100, 0.35), (27000, 0.0)]


def make_tokenizer(path):
    """Learns the tokenizer from 8000 documents; copied words become one token."""
    if not os.path.exists(path):
        rng = random.Random(11)
        texts = ["".join(generate.document(rng, kinds=generate.FIRST_MIX, twins=True)) for _ in range(8000)]
        weights = {" " + word: 30 for word in generate.COPIED}
        tokenizer = bpe.Tokenizer(bpe.train("".join(" " + t + "\n" for t in texts), weights))
        assert bpe.same_ids(tokenizer, [" " + t for t in texts[:2000]])
        tokenizer.save(path)
        assert all(bpe.run_c_encode(path, t) == [bpe.BOS] + tokenizer.encode_fast(" " + t)
                   for t in texts[:200])
    tokenizer = bpe.load(path)
    tokenizer.names = {tokenizer.encode(" " + n)[0] for n in generate.BY_NAME}
    tokenizer.things = tokenizer.names | {tokenizer.encode(" " + w)[0] for w in
                                          generate.COLOURS + generate.THINGS}
    return tokenizer


# ---------------------------------------------------------------------- data

def copy_weights(tokenizer, ids, phase):
    """A weight for every token of a story: more for names and things that were
    there before, and for every name after the first, which must differ from it."""
    names, things = tokenizer.names, tokenizer.things
    seen, out = set(), []
    for i in ids:
        follows = i in seen or (i in names and seen & names)
        copied = phase.copy_weight if follows else phase.free_weight
        out.append(copied if i in things else 1.0)
        if i in things:
            seen.add(i)
    return out


def encode_document(tokenizer, pair, phase):
    """Ids of <s> prompt answer, and how much the prediction of each id counts."""
    prompt, answer = pair
    head = tokenizer.encode_fast(" " + prompt) if prompt else []
    tail = tokenizer.encode_fast(answer if prompt else " " + answer)
    is_story = not prompt or prompt.startswith("Q: Tell")
    if is_story:
        weights = copy_weights(tokenizer, tail, phase)
    else:
        weights = [phase.answer_weight] * len(tail)
    first = 1.0 if is_story else phase.answer_weight
    return [bpe.BOS] + head + tail, [first] + [0.1 if prompt else 1.0] * len(head) + weights


def make_batch(tokenizer, seed, step, phase):
    """Windows that start with <s> and are filled with documents.  Two batches
    of three have windows of 128 tokens, the third of 256, so that all positions
    are trained."""
    rng = random.Random(seed * 1000003 + step)
    time_steps = 256 if step % 3 == 2 else 128
    rows, weights = [], []
    for _ in range(BATCH_TOKENS // time_steps):
        ids, w = [], []
        while len(ids) <= time_steps:
            # The <s> after an answer is predicted with the answer's weight.
            pair = generate.document(rng, home_share=phase.home_share, kinds=phase.kinds,
                                     twins=phase.twins)
            more, mw = encode_document(tokenizer, pair, phase)
            if w:
                mw[0] = w[-1]
            ids += more
            w += mw
        rows.append(ids[:time_steps + 1])
        weights.append(w[1:time_steps + 1])
    rows = torch.tensor(rows)
    return rows[:, :-1], rows[:, 1:], torch.tensor(weights)


# ----------------------------------------------------------------- optimizer

def orthogonal(g):
    """The nearest (roughly) orthogonal matrices, by five Newton-Schulz steps."""
    tall = g.shape[1] > g.shape[2]
    x = g.transpose(1, 2) if tall else g
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        s = torch.bmm(x, x.transpose(1, 2))
        x = 3.4445 * x + torch.bmm(-4.7750 * s + 2.0315 * torch.bmm(s, s), x)
    return x.transpose(1, 2) if tall else x


class Muon:
    """Momentum whose update of every matrix is made orthogonal (K. Jordan)."""

    def __init__(self, params, rows, decay=0.01):
        self.params, self.rows, self.decay = params, rows, decay
        self.momentum = [torch.zeros_like(p) for p in params]

    @torch.no_grad()
    def step(self, lr):
        for p, m, rows in zip(self.params, self.momentum, self.rows):
            m.lerp_(p.grad, 0.05)
            update = p.grad.lerp(m, 0.95).reshape(-1, rows, p.shape[2])
            scale = math.sqrt(max(1.0, rows / p.shape[2]))
            p.mul_(1 - lr * self.decay)
            p.sub_(orthogonal(update).reshape(p.shape), alpha=lr * scale)


def spread_colours(model, adam, tokenizer):
    """Gives the colours embeddings that are far apart.  A colour is chosen at
    random when it first appears, which draws the embeddings of all colours to
    one point; then they can not be copied.  See README.md."""
    ids = [tokenizer.encode(" " + c)[0] for c in generate.COLOURS]
    away = torch.randn(len(ids), model.emb.shape[1], generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        middle = model.emb[ids].mean(0)
        away = F.normalize(away - away.mean(0), dim=1)
        model.emb[ids] = middle + 1.1 * away
        for value in adam.state[model.emb].values():
            if value.dim() == 2:
                value[ids] = 0


def lr_scale(step):
    """The share of the largest learning rate at a step."""
    for (x0, y0), (x1, y1) in zip(RATE, RATE[1:]):
        if x0 <= step < x1:
            return y0 + (y1 - y0) * (step - x0) / (x1 - x0)
    return 0.0


# ------------------------------------------------------------------ training

def exact_match(model, tokenizer, pairs):
    """Share of answers that greedy decoding gives exactly, with the end of the
    document.  One pass with the right answer in place tells the same."""
    right = 0
    with torch.no_grad():
        for prompt, answer in pairs:
            head = [bpe.BOS] + tokenizer.encode_fast(" " + prompt)
            tail = tokenizer.encode_fast(answer) + [bpe.BOS]
            best = model(torch.tensor([head + tail[:-1]]))[0].argmax(-1)
            right += best[len(head) - 1:].tolist() == tail
    return right / len(pairs)


def save(path, **state):
    torch.save(state, path + ".new")
    os.replace(path + ".new", path)


def train(tokenizer, a):
    """The training loop; returns the model."""
    torch.manual_seed(a.seed)
    model = Llama()
    matrices = [model.wqkv, model.wo, model.w13, model.w2]
    muon = Muon(matrices, [64, 64, model.config["hidden"], 64])
    adam = torch.optim.AdamW([model.emb, model.norms], betas=(0.9, 0.98), weight_decay=0.01)
    print("parameters", sum(p.numel() for p in model.parameters()), flush=True)
    rng = random.Random(99)
    tests = [generate.document(rng, True, 1.0) for _ in range(200)]
    checkpoint, first = os.path.join(a.work, "checkpoint.pt"), 0
    if os.path.exists(checkpoint):
        state = torch.load(checkpoint)
        model.load_state_dict(state["model"])
        adam.load_state_dict(state["adam"])
        muon.momentum, first = state["momentum"], state["step"]
    start, losses = time.time(), []
    steps = PHASES[-1].end
    for step in range(first, a.stop or steps):
        if step == SPREAD:
            spread_colours(model, adam, tokenizer)
        scale, phase = lr_scale(step), next(p for p in PHASES if step < p.end)
        inputs, targets, weights = make_batch(tokenizer, a.seed, step, phase)
        logits = model(inputs)
        loss = F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1),
                               reduction="none")
        loss = (loss * weights.view(-1)).sum() / weights.sum()
        for p in model.parameters():
            p.grad = None
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in adam.param_groups:
            group["lr"] = ADAM_LR * scale
        adam.step()
        muon.step(MUON_LR * scale)
        losses.append(loss.item())
        done = step + 1
        if done % a.report == 0 or done == steps:
            print(f"step {done} loss {sum(losses) / len(losses):.4f} "
                  f"exact {exact_match(model, tokenizer, tests):.3f} "
                  f"seconds {time.time() - start:.0f} cpu {time.process_time():.0f}", flush=True)
            losses = []
            save(checkpoint, model=model.state_dict(), adam=adam.state_dict(),
                 momentum=muon.momentum, step=done)
            model.export(os.path.join(a.work, "demo.bin"))
    return model


def quicken():
    """One thread, and memory that is kept instead of returned to the system
    after every operation, which saves 40 % of the time."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(-3, 1 << 30)              # M_MMAP_THRESHOLD
        libc.mallopt(-1, (1 << 31) - 1)        # M_TRIM_THRESHOLD


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--stop", type=int, help="stop early, for experiments")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=int, default=500, help="steps between checkpoints")
    parser.add_argument("--work", default="/tmp/demo", help="folder for checkpoints")
    parser.add_argument("--out", default=here, help="folder for the finished files")
    a = parser.parse_args()
    quicken()
    os.makedirs(a.work, exist_ok=True)
    tokenizer = make_tokenizer(os.path.join(a.work, "demo-tokenizer.bin"))
    model = train(tokenizer, a)
    if not a.stop:
        tokenizer.save(os.path.join(a.out, "demo-tokenizer.bin"))
        model.export(os.path.join(a.out, "demo.bin"))
        generate.write_test_files(a.out)


if __name__ == "__main__":
    main()
