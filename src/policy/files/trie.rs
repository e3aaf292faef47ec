//! All patterns of a list as one automaton.
//!
//! Patterns that begin with the same steps share the positions in them: they are a tree of steps, of which nothing is
//! built. The rules are sorted by their steps, so a node of the tree is a range of the list and a depth, and its
//! children are found by bisection. What a byte costs depends on how many nodes a path stands at, not on the
//! number of rules: `**/NAME` are one node, whatever the number of names.

use super::FileRule;
use crate::policy::glob::{Step, is_named};

/// Rules that share their first steps, and stand behind them. Either all of them go on with a [`Step::Star`], or all
/// with one sort of the steps of `**`, or none of them with either: so a set of positions is one set of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Node {
    low: u32,
    high: u32,
    depth: u32,
}

/// A set of positions in all patterns: its nodes in order, each once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(in crate::policy) struct State(Vec<Node>);

#[cfg(test)]
impl State {
    pub(super) fn nodes(&self) -> usize {
        self.0.len()
    }
}

/// How many of the first rules of the list are of a sort: whether one of a range is, is one subtraction.
#[derive(Debug)]
struct Count(Box<[u32]>);

impl Count {
    fn of(rules: &[FileRule], sort: impl Fn(&FileRule) -> bool) -> Self {
        let sums = rules.iter().scan(0, |sum, rule| {
            *sum += u32::from(sort(rule));
            Some(*sum)
        });
        Self(std::iter::once(0).chain(sums).collect())
    }

    fn any(&self, low: u32, high: u32) -> bool {
        self.0.get(low as usize) < self.0.get(high as usize)
    }
}

/// Rules, sorted by the steps of their patterns.
#[derive(Debug)]
pub(super) struct Trie {
    rules: Vec<FileRule>,
    /// Those that show something.
    shown: Count,
    /// Those that hide.
    hiding: Count,
}

impl Trie {
    pub(super) fn new(mut rules: Vec<FileRule>) -> Self {
        rules.sort_by(|a, b| {
            let steps = a.pattern.order(&b.pattern);
            steps.then_with(|| a.pattern.text().cmp(b.pattern.text()))
        });
        Self {
            shown: Count::of(&rules, |rule| !rule.forbid && !rule.effect.hides()),
            hiding: Count::of(&rules, |rule| rule.effect.hides()),
            rules,
        }
    }

    pub(super) fn rules(&self) -> &[FileRule] {
        &self.rules
    }

    /// Before a path.
    pub(super) fn start(&self) -> State {
        let mut nodes = Vec::new();
        // There are fewer rules than bytes in a policy, whose places are of 32 bits.
        self.close(0, self.rules.len() as u32, 0, &mut nodes);
        ordered(nodes)
    }

    /// Behind a text.
    pub(super) fn walk(&self, text: &[u8]) -> State {
        let mut state = self.start();
        for &byte in text {
            state = self.advance(&state, byte);
        }
        state
    }

    /// One byte further.
    pub(super) fn advance(&self, state: &State, byte: u8) -> State {
        let mut nodes = Vec::new();
        for node in &state.0 {
            self.behind(*node, byte, &mut nodes);
        }
        ordered(nodes)
    }

    /// The rules that match in a state, in the order of the list.
    pub(super) fn matching(&self, state: &State) -> Vec<&FileRule> {
        let mut all: Vec<&FileRule> = Vec::new();
        for node in &state.0 {
            let ended = self.ended(node);
            all.extend(self.range(node.low, ended));
        }
        all
    }

    /// True if some rule that may still match behind a state shows something.
    pub(super) fn shows_below(&self, state: &State) -> bool {
        let mut nodes = state.0.iter();
        nodes.any(|node| self.shown.any(self.ended(node), node.high))
    }

    /// True if some rule that may still match behind a state hides.
    pub(super) fn hides_below(&self, state: &State) -> bool {
        let mut nodes = state.0.iter();
        nodes.any(|node| self.hiding.any(self.ended(node), node.high))
    }

    fn range(&self, low: u32, high: u32) -> &[FileRule] {
        let range = self.rules.get(low as usize..high as usize);
        range.unwrap_or_default()
    }

    fn step(&self, rule: u32, depth: u32) -> Option<Step> {
        self.rules.get(rule as usize)?.pattern.step(depth)
    }

    /// Behind the rules of a node that end there, which come first.
    fn ended(&self, node: &Node) -> u32 {
        self.bound(*node, |step| step.is_none())
    }

    /// Behind the first rules of a node whose next step is of a sort. What comes before sorts before.
    fn bound(&self, node: Node, before: impl Fn(Option<Step>) -> bool) -> u32 {
        let Node { low, high, depth } = node;
        let is_before = |rule: &FileRule| before(rule.pattern.step(depth));
        let range = self.range(low, high);
        // They are sorted: mostly what holds of the first or the last holds of all.
        match (range.first(), range.last()) {
            (Some(first), _) if !is_before(first) => low,
            (_, Some(last)) if is_before(last) => high,
            _ => low + range.partition_point(is_before) as u32,
        }
    }

    /// Adds the nodes of a range at a depth, and all that are reached from them without a byte.
    fn close(&self, low: u32, high: u32, depth: u32, nodes: &mut Vec<Node>) {
        let all = Node { low, high, depth };
        let stars = self.bound(all, |step| step < Some(Step::Star));
        let deep = self.bound(all, |step| step <= Some(Step::Star));
        if low < stars {
            let high = stars;
            nodes.push(Node { low, high, depth });
        }
        if stars < deep {
            let (low, high) = (stars, deep);
            nodes.push(Node { low, high, depth });
            self.close(low, high, depth + 1, nodes);
        }
        if deep < high {
            let low = deep;
            nodes.push(Node { low, high, depth });
            match self.step(low, depth) {
                Some(Step::Deep) => self.close(low, high, depth + 3, nodes),
                Some(Step::DeepRest) => self.close(low, high, depth - 2, nodes),
                _ => {}
            }
        }
    }

    /// Adds the nodes behind one byte.
    fn behind(&self, node: Node, byte: u8, nodes: &mut Vec<Node>) {
        let Node { low, high, depth } = node;
        let named = is_named(byte);
        match self.step(low, depth) {
            Some(Step::Star | Step::DeepRest) => {
                if named {
                    self.close(low, high, depth, nodes);
                }
            }
            Some(Step::Deep) => {
                if byte == b'/' {
                    self.close(low, high, depth + 1, nodes);
                }
            }
            Some(Step::DeepFirst) => {
                if named {
                    self.close(low, high, depth + 1, nodes);
                }
            }
            Some(Step::Byte(_) | Step::One(_)) | None => {
                let low = self.bound(node, |step| step < Some(Step::Byte(byte)));
                let rest = Node { low, ..node };
                let end = self.bound(rest, |step| step <= Some(Step::Byte(byte)));
                if low < end {
                    self.close(low, end, depth + 1, nodes);
                }
                let low = self.bound(Node { low: end, ..node }, |step| {
                    step <= Some(Step::Byte(u8::MAX))
                });
                self.one(Node { low, ..node }, byte, nodes);
            }
        }
    }

    /// The same for a node whose rules all go on with one byte of a set: those with the same set stand together.
    fn one(&self, mut node: Node, byte: u8, nodes: &mut Vec<Node>) {
        let depth = node.depth;
        let set = |rule: &FileRule| match rule.pattern.step(depth)? {
            Step::One(which) => rule.pattern.set(which).copied(),
            _ => None,
        };
        while let [first, ..] = self.range(node.low, node.high)
            && let Some(wanted) = set(first)
        {
            let same = self.range(node.low, node.high);
            let same = same.partition_point(|rule| set(rule) <= Some(wanted)) as u32;
            let end = node.low + same;
            if wanted.has(byte) {
                self.close(node.low, end, depth + 1, nodes);
            }
            node.low = end;
        }
    }
}

/// One order for one set.
fn ordered(mut nodes: Vec<Node>) -> State {
    nodes.sort_unstable();
    nodes.dedup();
    State(nodes)
}
