//! Conditions on the arguments of a call: `socket(family == AF_NETLINK)`, `mmap(prot & PROT_EXEC && fd == -1)`.
//!
//! ```text
//! or    = and { "||" and }            and = unary { "&&" unary }          unary = "!" unary | "(" or ")" | test
//! test  = NAME ( "==" | "!=" | "<" | "<=" | ">" | ">=" ) VALUE
//!       | NAME "&" VALUE [ ( "==" | "!=" ) VALUE ]      some of these bits; or these bits have this value
//!       | NAME "in" ( VALUE | "[" VALUE { "," VALUE } "]" )    no other bits; or one of these
//! VALUE = number or constant, several joined by "|"
//! ```
//! Registers alone are looked at, so what a condition says holds until the call has ended.

use std::str::FromStr;

/// What the language must know of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// Which argument, from 0.
    pub arg: u8,
    /// How many bits the kernel looks at; 0: it is no number, or a pointer.
    pub bits: u32,
    /// It has a sign.
    pub signed: bool,
}

/// A test of one register, as the filter knows it. Unsigned, of so many bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "argument, bits, and what they are compared with"
)]
pub enum Test {
    Ge {
        arg: u8,
        bits: u32,
        value: u64,
    },
    Le {
        arg: u8,
        bits: u32,
        value: u64,
    },
    Masked {
        arg: u8,
        bits: u32,
        mask: u64,
        value: u64,
    },
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// A test.
    Test(Test),
    /// The other way round.
    Not(Box<Expr>),
    /// All hold; none: it always holds.
    And(Vec<Expr>),
    /// One holds; none: it never holds.
    Or(Vec<Expr>),
}

pub(super) fn all_bits(bits: u32) -> u64 {
    u64::MAX
        .checked_shr(64 - bits.clamp(1, 64))
        .unwrap_or(u64::MAX)
}

impl Test {
    /// Whether it holds for these registers.
    fn holds(self, args: &[u64; 6]) -> bool {
        let of =
            |arg: u8, bits: u32| args.get(usize::from(arg)).copied().unwrap_or(0) & all_bits(bits);
        match self {
            Self::Ge { arg, bits, value } => of(arg, bits) >= value,
            Self::Le { arg, bits, value } => of(arg, bits) <= value,
            Self::Masked {
                arg,
                bits,
                mask,
                value,
            } => of(arg, bits) & mask == value,
        }
    }

    /// Tests of which one holds if this doesn't.
    fn negated(self) -> Vec<Self> {
        match self {
            Self::Ge { value: 0, .. } => Vec::new(),
            Self::Ge { arg, bits, value } => vec![Self::Le {
                arg,
                bits,
                value: value - 1,
            }],
            Self::Le { bits, value, .. } if value >= all_bits(bits) => Vec::new(),
            Self::Le { arg, bits, value } => vec![Self::Ge {
                arg,
                bits,
                value: value + 1,
            }],
            // Another number is a smaller or a greater one.
            Self::Masked {
                arg,
                bits,
                mask,
                value,
            } if mask == all_bits(bits) => [
                Self::Ge { arg, bits, value }.negated(),
                Self::Le { arg, bits, value }.negated(),
            ]
            .concat(),
            Self::Masked {
                arg,
                bits,
                mask,
                value,
            } if value & !mask == 0 => (0..bits)
                .map(|bit| 1u64 << bit)
                .filter(|bit| mask & bit != 0)
                .map(|mask| Self::Masked {
                    arg,
                    bits,
                    mask,
                    value: !value & mask,
                })
                .collect(),
            // It never holds, so its contrary always does.
            Self::Masked { arg, bits, .. } => vec![Self::Ge {
                arg,
                bits,
                value: 0,
            }],
        }
    }
}

impl Expr {
    /// Whether it holds for these registers.
    pub fn holds(&self, args: &[u64; 6]) -> bool {
        match self {
            Self::Test(test) => test.holds(args),
            Self::Not(inner) => !inner.holds(args),
            Self::And(all) => all.iter().all(|one| one.holds(args)),
            Self::Or(all) => all.iter().any(|one| one.holds(args)),
        }
    }

    /// Lists of tests; the condition holds if all of one list do. `None`: there are more than `most`.
    pub fn cases(&self, most: usize) -> Option<Vec<Vec<Test>>> {
        self.spread(true, most)
    }

    fn spread(&self, wanted: bool, most: usize) -> Option<Vec<Vec<Test>>> {
        let cases = match (self, wanted) {
            (Self::Test(test), true) => vec![vec![*test]],
            (Self::Test(test), false) => test.negated().into_iter().map(|t| vec![t]).collect(),
            (Self::Not(inner), _) => inner.spread(!wanted, most)?,
            (Self::Or(all), true) | (Self::And(all), false) => {
                let each: Option<Vec<_>> = all.iter().map(|one| one.spread(wanted, most)).collect();
                each?.concat()
            }
            (Self::And(all), true) | (Self::Or(all), false) => {
                let mut product: Vec<Vec<Test>> = vec![Vec::new()];
                for one in all {
                    let factor = one.spread(wanted, most)?;
                    if product.len() * factor.len() > most {
                        return None;
                    }
                    let both = |a: &Vec<Test>| {
                        let a = a.clone();
                        factor
                            .iter()
                            .map(move |b| [&a[..], b].concat())
                            .collect::<Vec<_>>()
                    };
                    product = product.iter().flat_map(both).collect();
                }
                product
            }
        };
        (cases.len() <= most).then_some(cases)
    }
}

/// What the words of a condition stand for.
pub struct Names<'n> {
    /// A parameter of the call; or what is wrong with the name.
    pub param: &'n dyn Fn(&str) -> Result<Param, String>,
    /// A constant.
    pub constant: &'n dyn Fn(&str) -> Option<u64>,
}

/// Reads a condition.
pub fn parse(text: &str, names: &Names<'_>) -> Result<Expr, String> {
    let mut parser = Parser {
        rest: text.trim(),
        names,
        depth: 0,
    };
    let expr = parser.or()?;
    match parser.rest {
        "" => Ok(expr),
        rest => Err(format!("'{rest}' is too much here")),
    }
}

/// Conditions are written by people.
const MOST_DEEP: u32 = 32;

struct Parser<'p> {
    rest: &'p str,
    names: &'p Names<'p>,
    depth: u32,
}

impl<'p> Parser<'p> {
    fn take(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> &'p str {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let end = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        word
    }

    fn or(&mut self) -> Result<Expr, String> {
        let mut all = vec![self.and()?];
        while self.take("||") {
            all.push(self.and()?);
        }
        Ok(one_or(all, Expr::Or))
    }

    fn and(&mut self) -> Result<Expr, String> {
        let mut all = vec![self.unary()?];
        while self.take("&&") {
            all.push(self.unary()?);
        }
        Ok(one_or(all, Expr::And))
    }

    fn unary(&mut self) -> Result<Expr, String> {
        self.depth += 1;
        if self.depth > MOST_DEEP {
            return Err("this condition is nested too deep".into());
        }
        let expr = if self.take("!") {
            Expr::Not(Box::new(self.unary()?))
        } else if self.take("(") {
            let inner = self.or()?;
            if !self.take(")") {
                return Err("a parenthesis is never closed".into());
            }
            inner
        } else {
            self.test()?
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn test(&mut self) -> Result<Expr, String> {
        let name = self.word();
        if name.is_empty() {
            return Err(match self.rest {
                "" => "a condition is missing at the end".into(),
                rest => format!("wanted the name of an argument, not '{rest}'"),
            });
        }
        let param = (self.names.param)(name)?;
        let Param { arg, bits, .. } = param;
        let masked = |mask: u64, value: u64| {
            Expr::Test(Test::Masked {
                arg,
                bits,
                mask,
                value,
            })
        };
        let equal = |value| masked(all_bits(bits), value);
        if self.take("==") {
            return Ok(equal(self.value(bits)?));
        }
        if self.take("!=") {
            return Ok(Expr::Not(Box::new(equal(self.value(bits)?))));
        }
        for (token, less, with) in [
            ("<=", true, true),
            (">=", false, true),
            ("<", true, false),
            (">", false, false),
        ] {
            if self.take(token) {
                let value = self.value(bits)?;
                return Ok(compared(param, less, with, value));
            }
        }
        if self.take("&") {
            let mask = self.value(bits)?;
            let is = self.take("==");
            if !is && !self.take("!=") {
                return Ok(Expr::Not(Box::new(masked(mask, 0))));
            }
            let value = self.value(bits)?;
            if value & !mask != 0 {
                return Err(format!("{name} & {mask:#x} is never {value:#x}"));
            }
            let expr = masked(mask, value);
            return Ok(if is { expr } else { Expr::Not(Box::new(expr)) });
        }
        if self.take("in ") || self.rest.starts_with("in[") && self.take("in") {
            if !self.take("[") {
                let mask = self.value(bits)?;
                return Ok(masked(all_bits(bits) & !mask, 0));
            }
            let mut all = Vec::new();
            loop {
                all.push(equal(self.value(bits)?));
                if self.take("]") {
                    return Ok(Expr::Or(all));
                }
                if !self.take(",") {
                    return Err("a list is never closed".into());
                }
            }
        }
        Err(format!("'{name}' wants a comparison: == != < <= > >= & in"))
    }

    /// Numbers and constants, joined by bars.
    fn value(&mut self, bits: u32) -> Result<u64, String> {
        let mut value = 0;
        loop {
            let word = self.word();
            value |= match number(word) {
                Some(number) => number,
                None => (self.names.constant)(word).map(i128::from).ok_or_else(|| {
                    format!("'{word}' is no number and no constant that is known")
                })?,
            };
            let alone = self.rest.starts_with("||");
            if alone || !self.take("|") {
                break;
            }
        }
        let all = i128::from(all_bits(bits));
        // A negative number means its two's complement; one of more bits than there are is a mistake.
        match value {
            0.. if value <= all => u64::try_from(value).map_err(|e| e.to_string()),
            _ if value < 0 && -value <= all / 2 + 1 => {
                u64::try_from(value & all).map_err(|e| e.to_string())
            }
            _ => Err(format!("{value} has more than {bits} bits")),
        }
    }
}

fn one_or(mut all: Vec<Expr>, many: fn(Vec<Expr>) -> Expr) -> Expr {
    match all.pop() {
        Some(one) if all.is_empty() => one,
        last => {
            all.extend(last);
            many(all)
        }
    }
}

fn number(word: &str) -> Option<i128> {
    let (sign, digits) = match word.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, word),
    };
    let read = |digits: &str, radix| i128::from_str_radix(digits, radix).ok();
    let value = match digits {
        _ if digits.starts_with(['-', '+']) => None,
        _ if digits.starts_with("0x") => read(digits.get(2..)?, 16),
        _ if digits.starts_with("0o") => read(digits.get(2..)?, 8),
        _ => i128::from_str(digits).ok(),
    }?;
    (value <= i128::from(u64::MAX)).then_some(sign * value)
}

/// `<` and its kin. A signed number of so many bits, looked at unsigned, is the same number moved by half the range.
fn compared(Param { arg, bits, signed }: Param, less: bool, with: bool, value: u64) -> Expr {
    let all = all_bits(bits);
    let half = if signed { all / 2 + 1 } else { 0 };
    // In the order of the numbers, from 0 on.
    let place = value.wrapping_add(half) & all;
    let (low, high) = match (less, with) {
        (true, true) => (0, place),
        (true, false) => match place.checked_sub(1) {
            Some(place) => (0, place),
            None => return Expr::Or(Vec::new()),
        },
        (false, true) => (place, all),
        (false, false) if place == all => return Expr::Or(Vec::new()),
        (false, false) => (place + 1, all),
    };
    let range = |low: u64, high: u64| {
        Expr::And(vec![
            Expr::Test(Test::Ge {
                arg,
                bits,
                value: low,
            }),
            Expr::Test(Test::Le {
                arg,
                bits,
                value: high,
            }),
        ])
    };
    if !signed {
        return range(low, high);
    }
    // The negative ones are the upper half.
    let mut parts = Vec::new();
    if low < half {
        parts.push(range(low + half, high.min(half - 1) + half));
    }
    if high >= half {
        parts.push(range(low.max(half) - half, high - half));
    }
    Expr::Or(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Expr, String> {
        let names = Names {
            param: &|name| match name {
                "fd" => Ok(Param {
                    arg: 0,
                    bits: 32,
                    signed: true,
                }),
                "n" => Ok(Param {
                    arg: 1,
                    bits: 64,
                    signed: false,
                }),
                other => Err(format!("no {other}")),
            },
            constant: &|name| {
                [("A", 1), ("B", 2), ("C", 0x80)]
                    .iter()
                    .find(|(k, _)| *k == name)
                    .map(|(_, v)| *v)
            },
        };
        parse(text, &names)
    }

    /// Each with registers for which it holds, and others.
    #[test]
    fn conditions_mean_what_they_say() {
        let max = u64::MAX;
        for (text, yes, no) in [
            (
                "fd == -1",
                vec![[0xffff_ffff, 0], [max, 0]],
                vec![[1, 0], [0, 0]],
            ),
            (
                "fd < 0",
                vec![[0x8000_0000, 0], [0xffff_ffff, 0]],
                vec![[0, 0], [0x7fff_ffff, 0], [1 << 32, 0]],
            ),
            (
                "fd >= -2 && fd <= 3",
                vec![[0xffff_fffe, 0], [3, 0], [0, 0]],
                vec![[4, 0], [0xffff_fffd, 0]],
            ),
            (
                "fd > 2",
                vec![[3, 0], [0x7fff_ffff, 0]],
                vec![[2, 0], [0xffff_ffff, 0]],
            ),
            ("n & A|C", vec![[0, 1], [0, 0x81]], vec![[0, 2], [0, 0]]),
            ("n & 0xf == B", vec![[0, 2], [0, 0x82]], vec![[0, 3]]),
            (
                "n in A|B",
                vec![[0, 3], [0, 0]],
                vec![[0, 4], [0, 1 << 40 | 1]],
            ),
            (
                "n in [A, 7,C]",
                vec![[0, 1], [0, 7], [0, 0x80]],
                vec![[0, 0], [0, 3]],
            ),
            ("!(n == A || fd != 5)", vec![[5, 0]], vec![[5, 1], [4, 0]]),
            ("n <= 0xffffffffffffffff", vec![[0, max]], vec![]),
            ("n < 0", vec![], vec![[0, 0], [0, max]]),
        ] {
            let expr = read(text).unwrap_or_else(|why| panic!("{text}: {why}"));
            for (all, wanted) in [(yes, true), (no, false)] {
                for [a, b] in all {
                    let args = [a, b, 0, 0, 0, 0];
                    assert_eq!(expr.holds(&args), wanted, "{text} {a:#x} {b:#x}");
                    for (expr, wanted) in [
                        (expr.clone(), wanted),
                        (Expr::Not(Box::new(expr.clone())), !wanted),
                    ] {
                        let cases = expr.cases(256).unwrap();
                        let holds = cases
                            .iter()
                            .any(|case| case.iter().all(|test| test.holds(&args)));
                        assert_eq!(holds, wanted, "{text} {a:#x} {b:#x}: {cases:?}");
                    }
                }
            }
        }
        for wrong in [
            "",
            "fd",
            "fd ==",
            "fd == X",
            "x == 1",
            "fd == 1 )",
            "(fd == 1",
            "n & 1 == 2",
            "fd == 0x100000000",
            "fd = 1",
            "n in [1",
            "&& n == 1",
            "fd == --1",
            "fd == -3000000000",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(read(&"(".repeat(10_000)).is_err());
    }
}
