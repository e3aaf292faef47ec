//! The compiled filter does what table and rules say: every number, every edge of every condition.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests, which may fail"
)]

#[path = "support/bpf.rs"]
mod bpf;

use bpf::{Call, run};
use sbox::mechanism::bpf::ARCH_X86_64;
use sbox::policy::Signals;
use sbox::policy::lang::{Sheets, World};
use sbox::supervisor::calls::Refused;
use sbox::supervisor::filter::{
    EXEC_PRIVATE, EXEC_TRACE_DATA, GUARD_TRACE_DATA, GUARDED, NUMBERS_TRACE_DATA, Net, Profile,
    READY, SEND_PRIVATE, SENDS, compiled, guard, guarded_number, program, program_with,
};
use sbox::syscall::rules::{ArgRule, Op, Outcome};
use sbox::syscall::table::{Mechanism, TABLE, row};

/// The networks, and whether the view has process numbers of its own.
const PROFILES: [Profile; 3] = [
    profile(Net::None, false),
    profile(Net::None, true),
    profile(Net::Host, true),
];

const fn profile(net: Net, renumbers: bool) -> Profile {
    Profile {
        net,
        copies: true,
        metered: false,
        renumbers,
        signals: Signals::Own,
    }
}

/// What the filter should return, told without any compiler.
fn expected(call: &Call, profile: &Profile) -> u32 {
    let errno = |errno: i32| libc::SECCOMP_RET_ERRNO | errno as u32;
    if call.arch != ARCH_X86_64 {
        return errno(libc::ENOSYS);
    }
    if call.nr == EXEC_PRIVATE || guarded_number(call.nr).is_some() {
        return libc::SECCOMP_RET_USER_NOTIF;
    }
    let Some(row) = row(call.nr) else {
        return errno(libc::ENOSYS);
    };
    let either = |own, host| if profile.renumbers { own } else { host };
    let translate = libc::SECCOMP_RET_TRACE | u32::from(NUMBERS_TRACE_DATA);
    let (allow, notify) = (libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_USER_NOTIF);
    match row.mechanism {
        Mechanism::Native | Mechanism::Meter | Mechanism::Guarded => allow,
        Mechanism::Notify | Mechanism::Identify => notify,
        Mechanism::Number => either(notify, allow),
        Mechanism::Retell => either(translate, allow),
        Mechanism::Renumber => either(translate, notify),
        Mechanism::Trace => libc::SECCOMP_RET_TRACE | u32::from(EXEC_TRACE_DATA),
        Mechanism::Refuse(e) => errno(e as i32),
        Mechanism::Fake => errno(0),
        Mechanism::Check(_, rule) => match rule(profile.net).decide(&call.args) {
            Outcome::Native => allow,
            Outcome::Notify => notify,
            Outcome::Number => either(notify, allow),
            Outcome::Retell => either(translate, allow),
            Outcome::Renumber => either(translate, notify),
            Outcome::Trace => libc::SECCOMP_RET_TRACE | u32::from(GUARD_TRACE_DATA),
            Outcome::Refuse(e) => errno(e),
            Outcome::Fake => errno(0),
        },
    }
}

fn check(program: &[libc::sock_filter], call: &Call, profile: &Profile) {
    let (got, want) = (run(program, call).0, expected(call, profile));
    assert_eq!(got, want, "{profile:?} {call:x?}: {got:#x}, want {want:#x}");
}

/// What comes with sbox is what would be compiled; `BLESS=1 cargo test --test filter` writes it.
#[test]
fn what_is_ready_is_what_is_compiled() {
    let mut text = String::from(
        "//! The filters of [`READY`](super::READY), in this order.\n\n\
         use libc::sock_filter;\n\n\
         const fn i(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {\n    sock_filter { code, jt, jf, k }\n}\n\n\
         pub(super) static PROGRAMS: [&[sock_filter]; super::READY.len()] = [\n",
    );
    for profile in &READY {
        text += &format!("    // {profile:?}\n    &[\n");
        for line in compiled(profile, &[], &[]).unwrap().chunks(4) {
            let all = line
                .iter()
                .map(|i| format!("i({:#x}, {}, {}, {:#x}),", i.code, i.jt, i.jf, i.k));
            text += &format!("        {}\n", all.collect::<Vec<_>>().join(" "));
        }
        text += "    ],\n";
    }
    text += "];\n";
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/supervisor/filter/ready.rs"
    );
    if std::env::var_os("BLESS").is_some() {
        return std::fs::write(file, text).unwrap();
    }
    let have = std::fs::read_to_string(file).unwrap();
    assert!(
        have == text,
        "{file} is old: BLESS=1 cargo test --test filter"
    );
}

/// Values of each argument at which a rule may change its mind: around each value that a condition names, each bit
/// of a mask flipped, and all of these with the upper half set.
fn edges(rule: &ArgRule) -> [Vec<u64>; 6] {
    let mut edges: [Vec<u64>; 6] = Default::default();
    for cond in rule.cases.iter().flat_map(|case| &case.when) {
        let of = &mut edges[usize::from(cond.arg)];
        of.extend([
            cond.value.wrapping_sub(1),
            cond.value,
            cond.value.wrapping_add(1),
            u64::MAX,
        ]);
        if let Op::Masked(_) = cond.op {
            of.extend((0..64).map(|bit| cond.value ^ (1 << bit)));
        }
    }
    for of in &mut edges {
        of.push(0);
        let high: Vec<u64> = of
            .iter()
            .flat_map(|v| [v | 1 << 32, v | 0xffff_ffff << 32, v & 0xffff_ffff])
            .collect();
        of.extend(high);
        of.sort_unstable();
        of.dedup();
    }
    edges
}

/// A policy with random conditions, and what the model says of each call with registers at which it may change its
/// mind: the filter brings to the supervisor exactly what the policy refuses, and does with all else what it does
/// without a policy.
#[test]
fn conditions_of_a_policy_hold_in_the_filter() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut below = |n: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % n
    };
    let calls = [
        "socket",
        "ioctl",
        "kill",
        "clone",
        "mprotect",
        "lseek",
        "fcntl",
        "prctl",
        "futex",
        "dup3",
        "unshare",
        "getpriority",
        "accept4",
    ];
    let mut refused_some = 0;
    for round in 0..150 {
        let mut text = String::from("sbox = 1\n[syscalls]\n");
        let profile = PROFILES[round % PROFILES.len()];
        for call in calls {
            let params = row(sbox::syscall::table::by_name(call).unwrap().x86)
                .unwrap()
                .params;
            let plain: Vec<&str> = params
                .iter()
                .filter(|param| {
                    let refused = ["Ptr", "OutBuf", "InBuf", "Pid"].contains(&param.ty);
                    !refused && sbox::syscall::args::width(param.ty).is_some()
                })
                .map(|param| param.name)
                .collect();
            let mut said = std::collections::BTreeSet::new();
            for _ in 0..below(4) {
                let mut test = || {
                    let name = plain[below(plain.len() as u64) as usize];
                    let value = below(20);
                    match below(9) {
                        0 => format!("{name} == {value}"),
                        1 => format!("{name} != {value}"),
                        2 => format!("{name} <= {value}"),
                        3 => format!("{name} > {value}"),
                        4 => format!("{name} & {}", value + 1),
                        5 => format!("{name} in [1, {value}]"),
                        6 => format!("!({name} & {value} == 0)"),
                        7 => format!("{name} < -{}", value + 1),
                        _ => format!("{name} & 15 == {}", value % 16),
                    }
                };
                let condition = [test(), test()].join([" && ", " || "][round % 2]);
                // Comparisons with what is below the least number are refused when they are read.
                if said.insert(condition.clone()) {
                    let action = ["deny", "allow", "kill"][below(3) as usize];
                    text += &format!("\"{call}({condition})\" = \"{action}\"\n");
                }
            }
            if below(3) == 0 {
                text += &format!("{call} = \"{}\"\n", ["deny", "allow"][below(2) as usize]);
            }
        }
        let words = sbox::cli::policy::words();
        let read = |_: &std::path::Path| Ok(text.clone());
        let sheets = Sheets::load("p", &[], &World::default(), &words, &read);
        let sheets = match sheets {
            Ok(sheets) => sheets,
            // `n < -3` of an unsigned number.
            Err((faults, sources)) => {
                assert!(
                    faults.iter().all(|f| f.what.contains("bits")),
                    "{text}{}",
                    faults[0].show(&sources)
                );
                continue;
            }
        };
        let refused: Vec<Refused> = TABLE
            .iter()
            .filter_map(|row| Refused::of(&sheets, row).ok().flatten())
            .collect();
        let listed: Vec<_> = refused.iter().map(|one| (one.nr, one.cases())).collect();
        let filter = program_with(&profile, &listed, &[]).unwrap();
        let plain = program(&profile).unwrap();
        for call in calls {
            let nr = sbox::syscall::table::by_name(call).unwrap().x86;
            let by_policy = refused.iter().find(|one| one.nr == nr);
            for _ in 0..400 {
                let args = [(); 6].map(|()| {
                    let low = [
                        below(24),
                        u64::from(u32::MAX) - below(24),
                        1 << below(32),
                        0x7fff_ffff + below(3),
                    ];
                    let high = [0, 0, u64::MAX << 32, 1 << 32][below(4) as usize];
                    low[below(4) as usize] | high
                });
                let call = Call {
                    arch: ARCH_X86_64,
                    nr,
                    args,
                };
                let refuses = by_policy.is_some_and(|one| one.refusal(&args).is_some());
                let want = if refuses {
                    libc::SECCOMP_RET_USER_NOTIF
                } else {
                    run(&plain, &call).0
                };
                assert_eq!(run(&filter, &call).0, want, "{text}\n{call:x?}");
                refused_some += u32::from(refuses);
            }
        }
    }
    assert!(refused_some > 50_000, "{refused_some}");
}

/// What somebody wants to hear of comes to the supervisor where the kernel alone would serve it; nothing else changes.
#[test]
fn hearing_changes_nothing_else() {
    for profile in PROFILES {
        let all: Vec<u32> = TABLE.iter().map(|row| row.x86).collect();
        let (hearing, plain) = (
            program_with(&profile, &[], &all).unwrap(),
            program(&profile).unwrap(),
        );
        for row in TABLE {
            for low in [0, 1, 2, 3, 9, 0x5401, 0x1000_0000] {
                let call = Call {
                    arch: ARCH_X86_64,
                    nr: row.x86,
                    args: [low; 6],
                };
                let (heard, was) = (run(&hearing, &call).0, run(&plain, &call).0);
                let is_read = ["read", "readv", "pread64", "preadv", "preadv2"].contains(&row.name);
                let silent = GUARDED.contains(&row.x86) || is_read && heard == was;
                let told = was == libc::SECCOMP_RET_ALLOW && !silent;
                assert_eq!(
                    heard,
                    if told {
                        libc::SECCOMP_RET_USER_NOTIF
                    } else {
                        was
                    },
                    "{} {low:#x}",
                    row.name
                );
            }
        }
    }
}

#[test]
fn every_number_gets_what_the_table_says() {
    for profile in PROFILES {
        let program = program(&profile).unwrap();
        let numbers = (0..600).chain([
            EXEC_PRIVATE - 1,
            EXEC_PRIVATE,
            EXEC_PRIVATE + 1,
            u32::MAX,
            i32::MAX as u32,
        ]);
        let numbers = numbers.chain((0..400).map(|nr| SEND_PRIVATE + nr));
        for nr in numbers {
            for args in [[0; 6], [1; 6], [u64::MAX; 6], [0xffff_ffff_0000_0000; 6]] {
                check(
                    &program,
                    &Call {
                        arch: ARCH_X86_64,
                        nr,
                        args,
                    },
                    &profile,
                );
            }
        }
    }
}

#[test]
fn i386_and_x32_numbers_do_not_exist() {
    const I386: u32 = 0x4000_0003;
    const AARCH64: u32 = 0xc000_00b7;
    let enosys = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    for profile in PROFILES {
        let program = program(&profile).unwrap();
        for nr in (0..600).chain([EXEC_PRIVATE]) {
            for (arch, nr) in [
                (I386, nr),
                (AARCH64, nr),
                (ARCH_X86_64, nr | 0x4000_0000),
                (ARCH_X86_64, nr | 0x8000_0000),
            ] {
                assert_eq!(
                    run(
                        &program,
                        &Call {
                            arch,
                            nr,
                            args: [0; 6]
                        }
                    )
                    .0,
                    enosys,
                    "{arch:#x} {nr:#x}"
                );
            }
        }
    }
}

#[test]
fn every_rule_holds_at_its_edges() {
    let mut calls = 0;
    for profile in PROFILES {
        let net = profile.net;
        let program = program(&profile).unwrap();
        for row in TABLE {
            let Mechanism::Check(_, rule) = row.mechanism else {
                continue;
            };
            let edges = edges(&rule(net));
            // All combinations of the edges; the arguments that no condition names have one value, 0, and few more.
            let mut combinations: Vec<[u64; 6]> = vec![[0; 6]];
            for (arg, values) in edges
                .iter()
                .enumerate()
                .filter(|(_, values)| values.len() > 3)
            {
                combinations = combinations
                    .iter()
                    .flat_map(|args| {
                        values.iter().map(move |v| {
                            let mut args = *args;
                            args[arg] = *v;
                            args
                        })
                    })
                    .collect();
            }
            for args in combinations {
                check(
                    &program,
                    &Call {
                        arch: ARCH_X86_64,
                        nr: row.x86,
                        args,
                    },
                    &profile,
                );
                calls += 1;
            }
        }
    }
    println!("{calls} calls");
    assert!(calls > 10_000, "only {calls} calls tried");
}

/// The kernel emulates the filter for each number at install: length is start-up time.
#[test]
fn the_filter_is_short() {
    for profile in PROFILES {
        let net = profile.net;
        let program = program(&profile).unwrap();
        let longest = (0..470)
            .map(|nr| {
                run(
                    &program,
                    &Call {
                        arch: ARCH_X86_64,
                        nr,
                        args: [0; 6],
                    },
                )
                .1
            })
            .max()
            .unwrap();
        println!(
            "{net:?}: {} instructions, {longest} at most are run",
            program.len()
        );
        assert!(
            program.len() < 470,
            "{net:?}: {} instructions",
            program.len()
        );
        assert!(longest < 40, "{net:?}: {longest} instructions in one run");
    }
}

/// The kernel checks a program when it is installed (bpf_check_classic), and then does as ours says. The filter
/// holds for the thread that installs it, which has no listener: what would be notified is ENOSYS.
#[test]
fn the_kernel_takes_it() {
    for profile in PROFILES {
        let net = profile.net;
        let ours = program(&profile).unwrap();
        let theirs: Vec<seccompiler::sock_filter> = ours
            .iter()
            .map(|i| seccompiler::sock_filter {
                code: i.code,
                jt: i.jt,
                jf: i.jf,
                k: i.k,
            })
            .collect();
        let seen = std::thread::spawn(move || {
            seccompiler::apply_filter(&theirs).unwrap();
            let errno = |result: std::io::Result<()>| result.err().and_then(|e| e.raw_os_error());
            let udp = std::net::UdpSocket::bind("127.0.0.1:0").map(drop);
            let stat = std::fs::metadata("/").map(drop);
            (errno(stat), errno(udp), nix::unistd::getuid())
        })
        .join()
        .unwrap();
        // socket(2) itself is allowed with a network; then bind(2) asks the listener that isn't there.
        let udp = if net == Net::Host {
            libc::ENOSYS
        } else {
            libc::EACCES
        };
        assert_eq!(
            seen,
            (Some(libc::ENOSYS), Some(udp), nix::unistd::getuid()),
            "{net:?}"
        );
    }
}

/// What only some views need is caught where they do, and nothing else is changed by that.
#[test]
fn calls_are_caught_where_the_view_needs_it() {
    let with = |copies, metered| {
        let net = Net::None;
        program(&Profile {
            net,
            copies,
            metered,
            renumbers: true,
            signals: Signals::Own,
        })
        .unwrap()
    };
    let (plain, copies, metered) = (with(false, false), with(true, false), with(false, true));
    let (mut identified, mut counted) = (0, 0);
    for row in TABLE {
        let call = Call {
            nr: row.x86,
            arch: ARCH_X86_64,
            args: [0; 6],
        };
        let answer = |program| run(program, &call).0;
        let caught = (libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_USER_NOTIF);
        let same = (answer(&plain), answer(&plain));
        let of = |wanted| if wanted { caught } else { same };
        let identifies = matches!(row.mechanism, Mechanism::Identify);
        let counts = matches!(row.mechanism, Mechanism::Meter);
        assert_eq!(
            (answer(&plain), answer(&copies)),
            of(identifies),
            "{}",
            row.name
        );
        assert_eq!(
            (answer(&plain), answer(&metered)),
            of(counts),
            "{}",
            row.name
        );
        identified += u32::from(identifies);
        counted += u32::from(counts);
    }
    assert!(identified > 0 && counted > 8, "{identified}, {counted}");
    let clone = Call {
        nr: libc::SYS_ioctl as u32,
        arch: ARCH_X86_64,
        args: [0, 0x4004_9409, 0, 0, 0, 0],
    };
    let refused = libc::SECCOMP_RET_ERRNO | libc::EOPNOTSUPP as u32;
    assert_eq!(run(&metered, &clone).0, refused, "FICLONE");
    assert_eq!(run(&plain, &clone).0, libc::SECCOMP_RET_ALLOW, "FICLONE");
}

/// The guard stops what has an address behind a pointer, and nothing else.
#[test]
fn the_guard_stops_what_sends_and_receives_with_addresses() {
    let guard = guard().unwrap();
    let stop = libc::SECCOMP_RET_TRACE | u32::from(GUARD_TRACE_DATA);
    for nr in 0..600 {
        for address in [0, 1, 1 << 32, u64::MAX] {
            let call = Call {
                arch: ARCH_X86_64,
                nr,
                args: [7, 7, 7, 7, address, 7],
            };
            let by_register = [libc::SYS_sendto as u32, libc::SYS_recvfrom as u32].contains(&nr);
            let accepts = [libc::SYS_accept as u32, libc::SYS_accept4 as u32].contains(&nr);
            let stops = GUARDED.contains(&nr) && !accepts && (!by_register || address != 0);
            let want = if stops { stop } else { libc::SECCOMP_RET_ALLOW };
            assert_eq!(run(&guard, &call).0, want, "{nr} {address:#x}");
        }
    }
    assert!(SENDS.iter().all(|nr| GUARDED.contains(nr)));
}
