#!/usr/bin/env python3
"""Writes the texts that the demo model learns from, and checks the texts it tells.

Two kinds of documents come out of this file:

* short stories about twelve characters that keep their species everywhere
  (Max is always a dog), with real causes and consequences, and
* home-assistant questions: a line with the state of a home, a question or a
  command, and the only right answer.

All of it uses a closed vocabulary of a few hundred words, because a network of
230,000 parameters can learn to use few words well, but not many.

Nothing is stored: a document is a function of a random generator, and
`is_held_out()` decides from a checksum whether it may be trained on or is kept
for the tests.  Run the file to see a few documents:

    ./generate.py [COUNT] [SEED]
"""
import json
import os
import random
import re
import sys
import zlib
from collections import namedtuple

HELD_OUT_SHARE = 40  # one document in 40 is never trained on
STORY_LENGTH = 320   # longest story in characters, about 120 tokens

# --------------------------------------------------------------------- words

Character = namedtuple("Character", "name kind he his him")


def _she(name, kind):
    return Character(name, kind, "she", "her", "her")


def _he(name, kind):
    return Character(name, kind, "he", "his", "him")


CHARACTERS = [
    _he("Tom", "boy"), _he("Ben", "boy"), _he("Sam", "boy"),
    _she("Lily", "girl"), _she("Mia", "girl"), _she("Ann", "girl"),
    _he("Max", "dog"), _she("Kit", "cat"), _he("Pip", "bird"),
    _she("Dot", "duck"), _he("Bob", "bear"), _she("Fay", "fox"),
]
BY_NAME = {c.name: c for c in CHARACTERS}
KINDS = sorted({c.kind for c in CHARACTERS})
PEOPLE = ("boy", "girl")

TRAITS = ["little", "kind", "brave", "happy", "good", "funny"]
COLOURS = ["red", "blue", "green", "yellow", "pink", "black"]
TOYS = ["ball", "hat", "kite", "drum", "boat", "car", "bell", "book"]
FOODS = ["cake", "pie", "bun", "pear", "nut"]
PLACES = ["park", "garden", "lake", "hill", "farm", "beach"]
WEATHERS = ["sunny", "warm", "cold", "windy"]
SPOTS = ["under the bed", "behind the door", "in the grass", "under a tree",
         "in a box", "by the gate"]

ROOMS = ["kitchen", "bedroom", "bathroom", "garage", "hall", "office"]
SWITCHED = ["lamp", "fan", "heater", "radio", "TV"]   # on or off
MOVING = ["door", "window", "blind"]                  # open or closed

# Words that the model copies from the context.  The tokenizer is asked to
# make each of them one token, which is what makes copying easy.
COPIED = ([c.name for c in CHARACTERS] + KINDS + COLOURS + TOYS + FOODS
          + PLACES + ROOMS + SWITCHED + MOVING + ["on", "off", "open", "closed"])


def cap(text):
    """The text with a capital first letter."""
    return text[0].upper() + text[1:]


# ------------------------------------------------------------------- stories

class Teller:
    """Makes the random choices of one story and phrases its usual moments."""

    def __init__(self, rng):
        self.rng = rng

    def pick(self, *options):
        return self.rng.choice(options)

    def maybe(self, text, share=0.5):
        return text if self.rng.random() < share else ""

    def cast(self, count):
        return self.rng.sample(CHARACTERS, count)

    def toy(self):
        """A colour and a toy, for "a red ball" and "the ball"."""
        return self.rng.choice(COLOURS), self.rng.choice(TOYS)

    def place(self):
        return self.rng.choice(PLACES)

    def opening(self, a):
        """Introduces the main character."""
        trait = self.rng.choice(TRAITS)
        return self.pick(
            f"Once upon a time, there was a {trait} {a.kind} named {a.name}.",
            f"Once there was a {trait} {a.kind} named {a.name}.",
            f"There was a {trait} {a.kind} named {a.name}.",
            f"{a.name} was a {trait} {a.kind}.")

    def met(self, b, a):
        """Introduces character b beside a, as the subject of a sentence."""
        if b.kind in PEOPLE:
            return self.pick(f"{a.his} friend {b.name}", f"a {b.kind} named {b.name}")
        return self.pick(f"{a.his} friend {b.name}", f"{b.name} the {b.kind}",
                         f"a {b.kind} named {b.name}")

    def outing(self, a):
        """Brings the main character to a place; returns the sentence and the place."""
        place, weather = self.place(), self.rng.choice(WEATHERS)
        return self.pick(
            f"It was a {weather} day, and {a.he} went to the {place}.",
            f"One day, {a.he} went to the {place}.",
            f"On a {weather} day, {a.name} was at the {place}.",
            f"{cap(a.he)} liked to play at the {place}."), place

    def thanks(self, a, b):
        return self.pick(f"\"Thank you, {b.name}!\" said {a.name}.",
                         f"\"Thank you!\" said {a.name}.",
                         f"{a.name} gave {b.name} a big hug.",
                         f"\"You are a good friend,\" said {a.name}.")

    def end(self, a, b):
        return self.pick(
            "They were happy.", "Then they went home.", "It was a good day.",
            "They played all day.", "They were best friends.",
            f"{a.name} and {b.name} were best friends.",
            f"{a.name} and {b.name} played all day.",
            f"{a.name} smiled.", f"{b.name} was happy, too.")

    def sad(self, a):
        return self.pick(f"{a.name} was sad.", f"{cap(a.he)} was very sad.",
                         f"{a.name} began to cry.")

    def asks(self, b, a):
        """b comes in and asks a what is wrong."""
        who = cap(self.met(b, a))
        return self.pick(
            f"{who} came and asked, \"Why are you sad?\"",
            f"{who} saw {a.him}. \"What is wrong?\" asked {b.name}.",
            f"{who} saw that {a.he} was sad and came to help.")


def lost(t):
    """Something is lost, two places are searched, it is found in the second."""
    a, b = t.cast(2)
    colour, toy = t.toy()
    first, second = t.rng.sample(SPOTS, 2)
    return [
        t.opening(a),
        t.pick(f"{cap(a.he)} had a {colour} {toy}.", f"{cap(a.he)} loved {a.his} {colour} {toy}."),
        t.pick(f"One day, {a.he} could not find the {toy}.", f"One day, {a.he} lost the {toy}."),
        t.sad(a), t.asks(b, a),
        t.pick(f"\"I lost my {colour} {toy},\" said {a.name}.",
               f"\"I can not find my {toy},\" said {a.name}."),
        t.pick("\"I will help you,\" said " + b.name + ".", ""),
        t.pick(f"They looked {first}. It was not there.", f"The {toy} was not {first}.", ""),
        t.pick(f"Then {b.name} found the {toy} {second}!",
               f"Then they looked {second}. There was the {toy}!"),
        t.thanks(a, b), t.maybe(t.end(a, b))]


def hungry(t):
    """One has food, the other is hungry, they share."""
    a, b = t.cast(2)
    food, (trip, _) = t.rng.choice(FOODS), t.outing(a)
    return [
        t.opening(a), t.maybe(trip),
        t.pick(f"{cap(a.he)} was very hungry.", f"{cap(a.he)} had no food."),
        f"{cap(t.met(b, a))} had a big {food}.",
        t.pick(f"\"I am so hungry,\" said {a.name}.", f"\"Can I have some {food}?\" asked {a.name}."),
        t.pick(f"\"We can share the {food},\" said {b.name}.", f"\"Yes, let us share,\" said {b.name}."),
        t.pick(f"{b.name} gave {a.name} half of the {food}.", f"They ate the {food} together."),
        t.pick(f"Now {a.name} was not hungry.", f"Soon {a.name} was full and happy."),
        t.pick("It is good to share.", t.thanks(a, b), t.end(a, b))]


REACH = {"bird": "flew up", "duck": "flew up", "cat": "climbed up", "fox": "jumped very high",
         "bear": "stood up tall", "dog": "jumped very high"}


def stuck(t):
    """The wind takes a toy up high; a friend gets it in his own way."""
    a, b = t.cast(2)
    colour = t.rng.choice(COLOURS)
    toy, high = t.pick("ball", "kite", "hat"), t.pick("tree", "roof", "wall")
    how = REACH.get(b.kind, "got a ladder")
    trip, _ = t.outing(a)
    return [
        t.opening(a), trip,
        t.pick(f"{cap(a.he)} had a {colour} {toy}.", f"{cap(a.he)} played with {a.his} {colour} {toy}."),
        t.pick("The wind was strong.", "Oh no!"), f"The {toy} got stuck on a {high}.",
        t.pick(f"{a.name} jumped, but {a.he} was too small.", f"{a.name} could not get the {toy}."),
        t.pick(f"{cap(t.met(b, a))} came. \"I can help you,\" said {b.name}.",
               f"{cap(t.met(b, a))} saw the {toy} on the {high}."),
        f"{b.name} {how} and got the {toy}.", t.thanks(a, b), t.maybe(t.end(a, b))]


def broken(t):
    """A toy is broken and a friend mends it."""
    a, b = t.cast(2)
    colour, toy = t.rng.choice(COLOURS), t.pick("drum", "boat", "bell", "car", "kite")
    tool = t.pick("glue", "tape", "string")
    return [
        t.opening(a),
        t.pick(f"{cap(a.he)} had a {colour} {toy}.", f"{cap(a.he)} loved {a.his} {colour} {toy}."),
        t.pick(f"One day, {a.he} fell, and the {toy} broke.",
               f"But one day, the {toy} fell down and broke."),
        t.sad(a), t.asks(b, a),
        t.pick(f"\"My {toy} is broken,\" said {a.name}.", f"\"I broke my {toy},\" said {a.name}."),
        t.pick(f"\"I can fix the {toy},\" said {b.name}.", "\"I will help you,\" said " + b.name + "."),
        f"{b.name} got some {tool} and fixed the {toy}.",
        t.pick(f"Now the {toy} was as good as new.", f"The {toy} was not broken any more.", ""),
        t.thanks(a, b), t.maybe(t.end(a, b))]


def noise(t):
    """A noise in the dark turns out to be harmless once the lamp is on."""
    a, b = t.cast(2)
    who = t.pick(t.met(b, a), "the wind", "the rain")
    friend = b.name in who
    return [
        t.opening(a), t.pick(f"One night, {a.he} was in bed.", "One night, it was very dark."),
        t.pick(f"{cap(a.he)} heard a loud noise.", f"{a.name} heard a noise at the door."),
        t.pick(f"\"What is that?\" said {a.name}.", f"{a.name} was afraid.", f"{cap(a.he)} began to cry."),
        t.pick(f"{cap(a.he)} turned on the lamp and looked.", f"But {a.name} was brave and turned on the lamp."),
        f"It was only {who}!",
        f"\"I can not sleep,\" said {b.name}." if friend else "",
        f"\"You can sleep here,\" said {a.name}." if friend else
        t.pick(f"{a.name} smiled.", f"Now {a.name} was not afraid any more."),
        t.pick("Then they went to sleep.", f"{a.name} and {b.name} went to bed.") if friend else
        t.pick(f"Then {a.he} went back to sleep.", f"Then {a.he} turned off the lamp and went to sleep.")]


def race(t):
    """In a race one falls; the other gives up winning to help."""
    a, b = t.cast(2)
    place = t.place()
    return [
        t.opening(a), f"One day, {a.he} saw {t.met(b, a)}.",
        t.pick(f"\"Let us run to the {place},\" said {a.name}.", f"\"I can run to the {place} first!\" said {b.name}."),
        t.pick("They ran very fast.", "They ran and ran."),
        t.pick(f"But {b.name} fell down.", f"{b.name} fell and hurt {b.his} leg."),
        t.pick(f"{a.name} stopped to help {b.him}.", f"{a.name} went back and helped {b.him} up."),
        t.pick(f"\"You are a good friend,\" said {b.name}.", f"\"Thank you, {a.name},\" said {b.name}.",
               f"\"You did not win,\" said {b.name}. \"A friend is better,\" said {a.name}."),
        f"They walked to the {place} together.", t.maybe(t.end(a, b))]


def seed(t):
    """A seed that gets water grows."""
    a, b = t.cast(2)
    colour, plant = t.rng.choice(COLOURS), t.pick("flower", "tree")
    return [
        t.opening(a), t.pick(f"{cap(a.he)} had a small seed.", f"One day, {a.he} found a small seed."),
        t.pick(f"{cap(a.he)} put the seed in the garden.", f"{a.name} put the seed in the grass."),
        t.pick(f"{cap(a.he)} gave the seed water every day.", "The sun was warm, and the rain came."),
        t.pick(f"{a.name} waited and waited.", "But nothing came up.", ""),
        t.pick("Then one day,", "Soon") + t.pick(f" there was a {colour} {plant}!", f" a {colour} {plant} came up!"),
        t.pick(f"{a.name} took {t.met(b, a)} to the garden.", f"{cap(t.met(b, a))} came to see the {plant}."),
        t.pick(f"\"I like your {plant},\" said {b.name}.", f"\"What a good {plant}!\" said {b.name}."),
        t.pick(f"{a.name} was happy.", f"{a.name} smiled.", t.end(a, b))]


def trade(t):
    """Two toys change hands."""
    a, b = t.cast(2)
    (toy1, toy2), (col1, col2) = t.rng.sample(TOYS, 2), t.rng.sample(COLOURS, 2)
    return [
        t.opening(a), f"{cap(a.he)} had a {col1} {toy1}.",
        f"{cap(t.met(b, a))} had a {col2} {toy2}.",
        t.pick(f"\"I like your {toy2},\" said {a.name}. \"I like your {toy1},\" said {b.name}.",
               f"\"Your {toy2} is so good!\" said {a.name}.",
               f"\"Can I have your {toy1}?\" asked {b.name}."),
        t.pick(f"\"Let us trade,\" said {t.pick(a.name, b.name)}.", "So they had a good idea."),
        f"{a.name} gave {b.name} the {toy1}, and {b.name} gave {a.name} the {toy2}.",
        t.maybe(f"Now {a.name} had the {col2} {toy2} and {b.name} had the {col1} {toy1}.", 0.6),
        t.pick("They were happy.", t.end(a, b))]


def sorry(t):
    """Not sharing is lonely; saying sorry helps."""
    a, b = t.cast(2)
    colour, toy = t.toy()
    return [
        t.opening(a), f"{cap(a.he)} had a {colour} {toy}.",
        f"{cap(t.met(b, a))} wanted to play with the {toy}.",
        t.pick(f"\"No, it is my {toy}!\" said {a.name}.", f"But {a.name} did not want to share."),
        t.pick(f"{b.name} was sad and went home.", f"{b.name} began to cry."),
        t.pick(f"{a.name} played alone. It was not fun.", f"Then {a.name} was sad, too."),
        t.pick(f"{cap(a.he)} went to {b.name}.", f"{cap(a.he)} looked for {b.name}."),
        t.pick(f"\"I am sorry,\" said {a.name}. \"You can play with my {toy}.\"",
               f"\"I am sorry, {b.name},\" said {a.name}. \"Let us share the {toy}.\""),
        t.pick("It is good to share.", f"{b.name} was happy.", "They played all day.", t.end(a, b))]


def rain(t):
    """Rain makes wet and cold; a house and a fire make warm and dry."""
    a, b = t.cast(2)
    trip, _ = t.outing(a)
    return [
        t.opening(a), trip, t.pick("Then the rain came.", "Then it began to rain."),
        t.pick(f"{a.name} got wet and cold.", f"Soon {a.he} was very wet."),
        t.pick(f"{cap(t.met(b, a))} saw {a.him}.", f"{cap(t.met(b, a))} had a house there."),
        t.pick(f"\"Come to my house,\" said {b.name}.", f"\"You are wet! Come in,\" said {b.name}."),
        t.pick("They sat by the fire.", f"{b.name} made a fire."),
        t.pick(f"Soon {a.name} was warm and dry.", f"Now {a.he} was not cold any more."),
        t.thanks(a, b), t.maybe(t.end(a, b))]


def gift(t):
    """A wish is heard and comes out of a box."""
    a, b = t.cast(2)
    colour, toy = t.toy()
    return [
        t.opening(a),
        t.pick(f"{cap(a.he)} wanted a {colour} {toy}.", f"\"I want a {colour} {toy},\" said {a.name}."),
        f"{cap(t.met(b, a))} " + t.pick(f"heard {a.him}.", "had an idea."),
        t.pick(f"The next day, {b.name} came with a big box.", f"{b.name} gave {a.name} a box."),
        t.pick("\"What is in the box?\" asked " + a.name + ".", f"{a.name} opened the box."),
        t.pick(f"In the box was a {colour} {toy}!", f"It was a {colour} {toy}!"),
        t.thanks(a, b), t.pick(f"{cap(a.he)} played with the {toy} all day.", t.end(a, b))]


def heavy(t):
    """A box is too heavy for one, but not for two."""
    a, b = t.cast(2)
    colour, toy = t.toy()
    trip, place = t.outing(a)
    return [
        t.opening(a), trip, f"{cap(a.he)} found a big box.",
        t.pick("The box was too heavy.", f"{a.name} could not open the box."),
        t.pick(f"\"Can you help me?\" {a.he} asked {t.met(b, a)}.",
               f"{cap(t.met(b, a))} came to help."),
        t.pick(f"{a.name} and {b.name} opened the box together.", "Together they were strong, and the box opened."),
        f"In the box was a {colour} {toy}!",
        t.pick(f"\"We can share the {toy},\" said {a.name}.", f"\"Let us play with the {toy}!\" said {b.name}."),
        t.end(a, b)]


def truth(t):
    """Something is broken, hidden, owned up to and forgiven."""
    a, b = t.cast(2)
    colour, toy = t.rng.choice(COLOURS), t.pick("drum", "boat", "bell", "car", "kite")
    return [
        t.opening(a), f"{cap(t.met(b, a))} had a {colour} {toy}.",
        t.pick(f"One day, {a.name} played with the {toy}, and the {toy} broke.", f"One day, {a.name} broke the {toy}."),
        t.pick(f"{cap(a.he)} put the {toy} {t.rng.choice(SPOTS)}.", f"{a.name} was afraid."),
        t.pick(f"\"Where is my {toy}?\" asked {b.name}.", f"{b.name} looked for the {toy}."),
        t.pick(f"\"I am sorry. I broke the {toy},\" said {a.name}.", f"\"I broke the {toy},\" said {a.name}. \"I am sorry.\""),
        t.pick(f"{b.name} was not mad.", f"{b.name} smiled."),
        t.pick(f"\"We can fix the {toy},\" said {b.name}.", f"\"Let us fix the {toy} together,\" said {b.name}."),
        t.maybe(f"Soon the {toy} was as good as new."), t.maybe(t.end(a, b))]


def sick(t):
    """A friend in bed gets food and gets well."""
    a, b = t.cast(2)
    food, place = t.pick("cake", "pie", "bun"), t.place()
    return [
        t.opening(a), t.pick(f"One day, {a.he} was sick.", f"One day, {a.he} was sick in bed."),
        t.pick(f"{cap(a.he)} could not go to the {place}.", t.sad(a)),
        t.pick(f"{cap(t.met(b, a))} came to see {a.him}.", f"{cap(t.met(b, a))} heard that {a.he} was sick."),
        t.pick(f"{b.name} made a {food}.", f"{b.name} had a {food} for {a.him}."),
        t.pick(f"{a.name} ate the {food}.", f"\"This {food} is so good,\" said {a.name}."),
        t.pick(f"The next day, {a.name} was well.", f"Soon {a.name} was well."),
        t.pick(t.thanks(a, b), "They went to the " + place + "."), t.maybe(t.end(a, b))]


def learn(t):
    """Trying again and again works."""
    a, b = t.cast(2)
    skill = t.pick("swim", "sing", "jump", "climb")
    return [
        t.opening(a), t.pick(f"But {a.he} could not {skill}.", f"{cap(a.he)} wanted to {skill}."),
        f"{cap(t.met(b, a))} could {skill} very well.",
        t.pick(f"\"Can you help me?\" asked {a.name}.", f"\"I want to {skill}, too,\" said {a.name}."),
        t.pick(f"\"Yes, I can help you,\" said {b.name}.", f"\"You can do it,\" said {b.name}."),
        t.pick(f"The first day, {a.name} could not do it.", f"{a.name} was afraid, but {a.he} was brave."),
        t.pick("They did it again and again.", f"{cap(a.he)} did not stop."),
        t.pick(f"Then one day, {a.name} could {skill}!", f"Soon {a.name} could {skill}, too!"),
        t.pick(f"{b.name} was happy.", f"\"I can {skill}!\" said {a.name}.", t.thanks(a, b)), t.maybe(t.end(a, b))]


def hide(t):
    """Hide and seek."""
    a, b = t.cast(2)
    first, second = t.rng.sample(SPOTS, 2)
    place = t.place()
    return [
        t.opening(a), t.pick(f"One day, {a.he} went to the {place} with {t.met(b, a)}.",
                             f"One day, {t.met(b, a)} came to play."),
        t.pick(f"\"Let us play a game,\" said {a.name}.", f"\"Can you find me?\" said {b.name}."),
        t.pick(f"{b.name} hid {second}.", f"{b.name} ran and hid {second}."),
        t.pick(f"{a.name} looked {first}. {b.name} was not there.", f"{a.name} looked and looked.",
               f"\"Where are you?\" said {a.name}."),
        t.pick(f"Then {a.he} looked {second}.", f"Then {a.he} heard a noise {second}."),
        t.pick(f"\"There you are, {b.name}!\" said {a.name}.", f"There was {b.name}!"),
        t.pick("It was a fun game.", "\"Now it is my turn,\" said " + a.name + ".", ""), t.maybe(t.end(a, b))]


def owner(t):
    """A found toy goes back to its owner; the first friend asked is not the one."""
    a, b, c = t.cast(3)
    colour, toy = t.toy()
    trip, place = t.outing(a)
    return [
        t.opening(a), trip, f"{cap(a.he)} found a {colour} {toy}.",
        f"{cap(a.he)} asked {t.met(b, a)}, \"Is it your {toy}?\"",
        t.pick(f"\"No,\" said {b.name}. \"I do not have a {toy}.\"", f"\"No, it is not,\" said {b.name}."),
        f"Then {a.he} asked {t.met(c, a)}.",
        t.pick(f"\"Yes, it is my {toy}!\" said {c.name}.", f"\"Yes, I lost my {colour} {toy}!\" said {c.name}."),
        f"{a.name} gave {c.name} the {toy}.",
        t.pick(f"\"Thank you, {a.name}!\" said {c.name}.", f"{c.name} was very happy."), t.maybe(t.end(a, c))]


def castle(t):
    """What is built together and falls down is built again, stronger."""
    a, b = t.cast(2)
    thing = t.pick("house", "wall")
    return [
        t.opening(a), f"{cap(a.he)} went to the beach with {t.met(b, a)}.",
        t.pick(f"They made a big {thing} of sand.", f"\"Let us make a {thing} of sand,\" said {a.name}."),
        t.pick(f"Then the water came, and the {thing} fell down.", f"But the wind was strong, and the {thing} fell down."),
        t.pick(t.sad(a), f"{b.name} was sad."),
        t.pick(f"\"We can make a new {thing},\" said {b.name}.", f"\"Let us do it again,\" said {b.name}."),
        t.pick("They did not stop.", "They made it very strong.", ""),
        f"Soon there was a new {thing}.",
        t.pick(f"It was as good as the first {thing}.", f"The new {thing} was big and strong.", t.end(a, b)), t.maybe(t.end(a, b))]


def pond(t):
    """A fall into the water, and a quick friend."""
    a, b = t.cast(2)
    while a.kind == "duck":             # a duck in the water needs no help
        a, b = t.cast(2)
    how = {"bird": "flew to get help", "bear": "jumped in"}.get(b.kind, t.pick("got a long string", "got some help", "jumped in"))
    return [
        t.opening(a), t.pick(f"One day, {a.he} went to the lake.", f"{cap(a.he)} liked to play at the lake."),
        t.pick(f"{cap(a.he)} ran too fast and fell in the water.", f"Oh no! {a.name} fell in the water."),
        t.pick(f"\"Help me!\" said {a.name}.", f"{a.name} was afraid."),
        t.pick(f"{cap(t.met(b, a))} heard {a.him}.", f"{cap(t.met(b, a))} saw {a.him}."),
        f"{b.name} {how}.", t.pick(f"Soon {a.name} was out of the water.", f"{b.name} got {a.name} out of the water."),
        t.pick(f"{a.name} was wet and cold, but {a.he} was well.", f"They sat in the sun, and {a.he} got dry."),
        t.thanks(a, b), t.maybe(t.end(a, b))]


def bake(t):
    """Something is baked for a friend who comes by; two can eat it."""
    a, b = t.cast(2)
    food = t.pick("cake", "pie", "bun")
    return [
        t.opening(a), t.pick(f"One day, {a.he} made a big {food}.", f"{cap(a.he)} wanted to make a {food}."),
        t.pick(f"The {food} was hot and so good.", f"{cap(a.he)} put the {food} by the window."),
        f"{cap(t.met(b, a))} came to the door.",
        t.pick(f"\"Can I have some {food}?\" asked {b.name}.", f"\"I like your {food},\" said {b.name}."),
        t.pick(f"\"The {food} is too big for me,\" said {a.name}.", f"\"Yes, come in,\" said {a.name}."),
        t.pick(f"They sat down and ate the {food}.", f"They ate the {food} together."),
        t.pick(f"Soon there was no {food}.", "It is good to share.", ""), t.pick(t.thanks(b, a), t.end(a, b))]


SCHEMAS = [lost, hungry, stuck, broken, noise, race, seed, trade, sorry, rain, gift,
           heavy, truth, sick, learn, hide, owner, castle, pond, bake]


def story(rng):
    """One story as a line of text."""
    schema = rng.choice(SCHEMAS)
    while True:
        text = " ".join(s for s in schema(Teller(rng)) if s)
        if len(text) <= STORY_LENGTH:
            return text


# ---------------------------------------------------------------------- home

Device = namedtuple("Device", "name kind state")   # "hall lamp", "lamp", "on"


def states_of(kind):
    return ("on", "off") if kind in SWITCHED else ("open", "closed")


def make_home(rng, twins=False):
    """Devices with their states and, in some homes, one room's temperature.
    twins: two rooms may have a device of the same kind; so small a network then
    takes one for the other a third of the time, so its homes have none."""
    count = rng.choice((1, 2, 2, 3, 3, 3, 4, 4))
    devices, taken = [], set()
    while len(devices) < count:
        kind = rng.choice(SWITCHED) if rng.random() < 0.65 else rng.choice(MOVING)
        name = f"{rng.choice(ROOMS)} {kind}"
        key = name if twins else kind
        if key not in taken:
            taken.add(key)
            devices.append(Device(name, kind, rng.choice(states_of(kind))))
    warmth = (rng.choice(ROOMS), rng.randint(10, 29)) if rng.random() < 0.3 else None
    return devices, warmth


def describe(devices, warmth):
    """The context line of a home document."""
    lines = [f"The {d.name} is {d.state}." for d in devices]
    if warmth:
        lines.append(f"The {warmth[0]} is {warmth[1]} degrees.")
    return "Home: " + " ".join(lines)


def ask_state(rng, devices):
    d = rng.choice(devices)
    asked = rng.choice(states_of(d.kind))
    word = "Yes" if asked == d.state else "No"
    return f"Is the {d.name} {asked}?", f"{word}, the {d.name} is {d.state}."


def ask_how(rng, devices):
    d = rng.choice(devices)
    return f"How is the {d.name}?", f"The {d.name} is {d.state}."


def command(rng, devices):
    d = rng.choice(devices)
    wanted = rng.choice(states_of(d.kind))
    if d.kind in SWITCHED:
        text = rng.choice((f"turn {wanted} the {d.name}", f"turn the {d.name} {wanted}"))
    else:
        text = {"open": "open", "closed": "close"}[wanted] + f" the {d.name}"
    text = "Please " + text if rng.random() < 0.5 else cap(text)
    if wanted == d.state:
        return text + ".", f"The {d.name} is already {wanted}."
    return text + ".", f"OK. The {d.name} is now {wanted}."


def joined(names):
    """"the a", "the a and the b", "the a, the b and the c"."""
    names = ["the " + n for n in names]
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def ask_list(rng, devices):
    state = rng.choice(states_of(rng.choice(devices).kind))
    hits = [d.name for d in devices if d.state == state]
    if not hits:
        return f"What is {state}?", f"Nothing is {state}."
    verb = "is" if len(hits) == 1 else "are"
    return f"What is {state}?", f"{cap(joined(hits))} {verb} {state}."


def ask_missing(rng, devices):
    """About a device that is not there: often one that shares a word with one that is."""
    names = {d.name for d in devices}
    while True:
        room, kind = rng.choice(ROOMS), rng.choice(SWITCHED + MOVING)
        if rng.random() < 0.5:
            room, kind = rng.choice(((rng.choice(devices).name.split()[0], kind),
                                     (room, rng.choice(devices).kind)))
        if f"{room} {kind}" not in names:
            break
    asked = rng.choice(states_of(kind))
    return f"Is the {room} {kind} {asked}?", f"I do not see the {room} {kind}."


def ask_warmth(rng, warmth):
    room, degrees = warmth
    if rng.random() < 0.5:
        return f"How warm is the {room}?", f"The {room} is {degrees} degrees."
    word = "Yes" if degrees >= 20 else "No"
    return f"Is the {room} warm?", f"{word}, the {room} is {degrees} degrees."


FACTS = [
    ("Hello!", "Hello! I am your home helper."),
    ("Who are you?", "I am a small model in your home."),
    ("What can you do?", "I can turn on the lamp, and I can tell a story."),
    ("How are you?", "I am happy. Thank you!"),
    ("Thank you!", "You are welcome."),
    ("Good night!", "Good night! Sleep well."),
]


# How often each kind of question is asked.
FIRST_MIX = [ask_state] * 9 + [command] * 10 + [ask_list] * 6 + [ask_missing] * 4
SECOND_MIX = FIRST_MIX + [ask_how] * 10
MIX = [ask_state] * 10 + [command] * 10 + [ask_list] * 5 + [ask_how] * 6


def home_question(rng, kinds=MIX, twins=False):
    """(prompt, answer) of one question about a home."""
    devices, warmth = make_home(rng, twins)
    if warmth and rng.random() < 0.5:
        question, answer = ask_warmth(rng, warmth)
    else:
        question, answer = rng.choice(kinds)(rng, devices)
    return f"{describe(devices, warmth)}\nQ: {question}\nA:", " " + answer


def fact_question(rng):
    """(prompt, answer) of a fixed fact, alone or beside the state of a home."""
    question, answer = rng.choice(FACTS)
    context = describe(*make_home(rng)) + "\n" if rng.random() < 0.6 else ""
    return f"{context}Q: {question}\nA:", " " + answer


def story_request(rng):
    return "Q: Tell me a story.\nA:", " " + story(rng)


# ----------------------------------------------------------------- documents

def checksum(text):
    return zlib.crc32(text.encode())


def is_held_out(text):
    """Whether a text belongs to the tests.  Homes are split by their context
    line, so that a tested home was never seen with any question."""
    if text.startswith("Home:"):
        return checksum(text.split("\n")[0]) % HELD_OUT_SHARE == 0
    if text.startswith("Q: Tell me"):
        text = text.split("\nA: ", 1)[1]
    if text.startswith("Q:"):
        return False                       # a fixed fact, with nothing to hold out
    return checksum(text) % HELD_OUT_SHARE == 0


def document(rng, held_out=False, home_share=0.40, kinds=MIX, twins=False):
    """A (prompt, answer) pair; the prompt of a plain story is empty.  The
    document is prompt + answer."""
    while True:
        draw = rng.random()
        if draw < home_share:
            pair = fact_question(rng) if rng.random() < 0.08 else home_question(rng, kinds, twins)
        elif draw < home_share + 0.03:
            pair = story_request(rng)
        else:
            pair = "", story(rng)
        if is_held_out("".join(pair)) == held_out:
            return pair


# ------------------------------------------------------------------- checker

WORD = re.compile(r"[A-Za-z]+|[0-9]+")
NAMES = "|".join(BY_NAME)
INTRODUCTION = re.compile(
    rf"named ({NAMES})\b|\b({NAMES}) the (?:{'|'.join(KINDS)})\b|friend ({NAMES})\b"
    rf"|\b({NAMES}) was a (?:{'|'.join(TRAITS)}) (?:{'|'.join(KINDS)})\b")
THINGS = TOYS + FOODS


def corpus_words(count=20000, seed=7):
    """Every word that the generator uses."""
    rng = random.Random(seed)
    return {w for _ in range(count) for w in WORD.findall("".join(document(rng)))}


def check_words(text, words):
    return [f"unknown word {w}" for w in WORD.findall(text) if w not in words]


def check_names(text):
    """Characters are introduced exactly once, before they act, and at most three."""
    problems, introduced = [], {}
    for match in INTRODUCTION.finditer(text):
        name = next(g for g in match.groups() if g)
        if name in introduced:
            problems.append(f"{name} is introduced twice")
        introduced.setdefault(name, match.start())
    for match in re.finditer(rf"\b({NAMES})\b", text):
        name = match.group(1)
        if match.start() < introduced.get(name, len(text)):
            problems.append(f"{name} was not introduced")
    if len(introduced) > 3:
        problems.append("too many characters")
    return problems


def check_kinds(text):
    """A name comes with its own species, whatever the phrase."""
    kinds, found = "|".join(KINDS), []
    for name, kind in re.findall(rf"\b({NAMES}) (?:the|was a \w+) ({kinds})\b", text):
        found.append((name, kind))
    for kind, name in re.findall(rf"\b({kinds}) named ({NAMES})\b", text):
        found.append((name, kind))
    return [f"{n} is not a {k}" for n, k in found if BY_NAME[n].kind != k]


def main_character(text):
    """The character who is named first, or None."""
    first = re.search(rf"\b({NAMES})\b", text)
    return BY_NAME[first.group(1)] if first else None


PRONOUN = re.compile(r"(\w+)\W+(he|she|his|him|her)\b|\b(He|She|His|Her)\b")


def check_pronouns(text):
    """Pronouns stand for the main character, as in all stories of this file;
    only who is helped may be anybody who was introduced, and who is hurt is the
    last one named."""
    main, problems = main_character(text), []
    for match in PRONOUN.finditer(text):
        before, word = match.group(1), (match.group(2) or match.group(3))
        gender = "he" if word.lower() in ("he", "his", "him") else "she"
        allowed = {main.he} if main else set()
        if before in ("hurt", "help", "helped"):
            named = re.findall(NAMES, text[:match.start()])
            named = named[-1:] if before == "hurt" else named
            allowed = {BY_NAME[n].he for n in named}
        if gender not in allowed:
            problems.append(f"\"{word}\" has the wrong gender")
    return problems


def check_things(text):
    """A toy is first seen with its colour and keeps it; food is first "a cake"
    or "some cake", then "the cake"."""
    problems, colour_of, seen = [], {}, set()
    pattern = rf"(\w+) (?:({'|'.join(COLOURS)}) )?({'|'.join(THINGS)})\b"
    for before, colour, thing in re.findall(pattern, text):
        if thing in TOYS and thing not in colour_of and not colour and thing not in seen:
            problems.append(f"the {thing} comes from nowhere")
        if thing in FOODS and thing not in seen and before not in ("a", "big", "some"):
            problems.append(f"the {thing} comes from nowhere")
        if colour and colour_of.setdefault(thing, colour) != colour:
            problems.append(f"the {thing} was {colour_of[thing]}, not {colour}")
        seen.add(thing)
    limit = 2 if "trade" in text or re.search(r"gave \w+ the \w+, and", text) else 1
    if len(seen) > limit:
        problems.append("too many things: " + ", ".join(sorted(seen)))
    return problems


def check_actions(text):
    """Nobody gives to, meets or talks to himself; toys are given by their owner,
    who does not have them afterwards."""
    problems = [f"{n} alone does a thing for two" for n in
                re.findall(rf"\b({NAMES}) (?:and|gave|asked|stopped to help) \1\b", text)
                + re.findall(rf"\b({NAMES})[,.!?]\" (?:said|asked) \1\b", text)]
    main, owner = main_character(text), {}
    for name, toy in re.findall(rf"\b({NAMES}|He|She) (?:the \w+ )?had a \w+ (\w+)", text):
        owner.setdefault(toy, main.name if name in ("He", "She") else name)
    for name, toy in re.findall(rf"\b({NAMES}) gave \w+ the (\w+)", text):
        if owner.get(toy, name) != name:
            problems.append(f"{name} gives a thing of {owner[toy]}")
        if re.search(rf"Now .*\b{name} had the \w+ {toy}\b", text):
            problems.append(f"{name} still has the {toy}")
    return problems


def check_form(text):
    """Whole sentences and paired quotation marks."""
    problems = []
    if not text.rstrip().endswith((".", "!", "?", ".\"", "!\"", "?\"")):
        problems.append("does not end with a sentence")
    if text.count('"') % 2:
        problems.append("odd number of quotation marks")
    if len(text.split()) < 20:
        problems.append("too short")
    return problems


def check_story(text, words):
    """A list of everything that is wrong in a story; empty if it is consistent."""
    return (check_words(text, words) + check_names(text) + check_kinds(text)
            + check_pronouns(text) + check_things(text) + check_actions(text)
            + check_form(text))


# ---------------------------------------------------------------- test files

def _different(count, make):
    """The first `count` different results of make()."""
    found = {}
    while len(found) < count:
        found.setdefault(make(), None)
    return list(found)


def write_test_files(folder, seed=2024):
    """Held-out documents, held-out home-state questions and story openings."""
    rng = random.Random(seed)
    documents = _different(400, lambda: "".join(document(rng, held_out=True)))
    with open(os.path.join(folder, "heldout.txt"), "w") as f:
        f.write("\n<|end|>\n".join(documents) + "\n<|end|>\n")

    def question():
        while True:
            pair = home_question(rng)
            if is_held_out("".join(pair)):
                return pair

    with open(os.path.join(folder, "questions.jsonl"), "w") as f:
        for prompt, answer in _different(400, question):
            f.write(json.dumps({"prompt": prompt, "answer": answer}) + "\n")
    teller = Teller(rng)
    openings = _different(120, lambda: teller.opening(rng.choice(CHARACTERS)))
    with open(os.path.join(folder, "stories_prompts.txt"), "w") as f:
        f.write("\n".join(openings) + "\n")


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    rng = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    for _ in range(count):
        print("".join(document(rng)) + "\n<|end|>")


if __name__ == "__main__":
    main()
