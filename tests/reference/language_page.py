"""The two specs of the language's own page, word for word."""

from __future__ import annotations

WAREHOUSE = """spec warehouse v1

features Step {                                   # the reward's input, in problem units
  dist_goal  : real [m]   in 0 .. 40
  clearance  : real [m]   in 0 .. 5
  speed      : real [m/s] in 0 .. 2.5
  payload    : real [kg]  in 0 .. 60
  battery    : real       in 0 .. 1
  human_near : bool
  zone       : enum {aisle, dock, charger}
  aisle_id   : real ^ 8   in 0 .. 1
}
assume s: Step = s.zone == charger implies s.speed <= 0.5 [m/s]      # what can occur at all

reward R(s: Step)                                 # a free symbol: bound to an artifact at verification time
reward Base(s: Step)                              # a second reward, such as the version before an edit
data   logs: Step from "data/logs.parquet"
param  v_safe: real [m/s] = 0.5 [m/s]
param  eps: real = 0.01

region risky(s: Step) = s.human_near and s.clearance < 1.0 [m]

--- Near a person, going faster never pays.
must slow_near_people:
  forall a, b: Step varying speed
  given risky(a) and a.speed <= b.speed
  expect R(a) >= R(b) - eps
  id "SR-017" because "ISO 3691-4 review, item 7"

--- Near a person, nothing above the safe speed is worth more than a poor day.
must no_speed_bonus:
  forall s: Step
  given risky(s) and s.speed > v_safe
  expect R(s) <= quantile(R(logs), 0.05)

--- The first rule again, said as a what-if.
should braking_pays:
  forall s: Step
  given risky(s) and s.speed >= 1 [m/s]
  expect R(s with {speed = s.speed - 0.5 [m/s]}) >= R(s)

should aisle_is_irrelevant:
  forall a, b: Step varying aisle_id
  expect |R(a) - R(b)| <= 2 * eps
  weight 0.5

--- An edit touches nothing beyond the risky region and its rim.
must edit_is_local:
  forall s: Step
  given beyond(risky(s), 5 %)
  expect R(s) == Base(s)

example of no_speed_bonus:
  covers  s = {human_near = true, clearance = 0.4 [m], speed = 1 [m/s]}
  ignores s = {clearance = 2 [m]}
"""

HELPFUL = """spec helpful_head v1

features Emb { e: real ^ 384 in -1 .. 1 }
reward H(x: Emb)
data refusals: Emb from "data/refusals.parquet"
data prefs: (better: Emb, worse: Emb) from "data/pairs.parquet"
param r: real = 0.02

must refusals_capped:                              # one obligation for each row of the data
  forall x: Emb near refusals within r
  expect H(x) <= quantile(H(refusals), 0.90)

should steady:
  forall x: Emb near refusals within r in l2
  expect |H(x) - H(anchor(x))| <= 0.2

must people_agree:
  forall p in prefs
  expect share(H(p.better) > H(p.worse)) >= 0.6 confidence 0.99
"""
