//! A small interpreter of classic BPF, as seccomp runs it.

/// What a filter sees of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) arch: u32,
    pub(crate) nr: u32,
    pub(crate) args: [u64; 6],
}

/// Runs the filter; returns its value and how many instructions it took. Panics where the kernel would refuse
/// the program: unknown instructions, loads and jumps beyond the end.
pub(crate) fn run(program: &[libc::sock_filter], call: &Call) -> (u32, usize) {
    let word = |offset: u32| -> u32 {
        match offset {
            0 => call.nr,
            4 => call.arch,
            16..64 if offset.is_multiple_of(4) => {
                let register = call.args[(offset as usize - 16) / 8];
                if offset.is_multiple_of(8) {
                    register as u32
                } else {
                    (register >> 32) as u32
                }
            }
            _ => panic!("load at {offset}"),
        }
    };
    let (mut a, mut at, mut steps) = (0u32, 0usize, 0usize);
    loop {
        let i = program[at];
        at += 1;
        steps += 1;
        let branch = |yes: bool| usize::from(if yes { i.jt } else { i.jf });
        match i.code {
            0x20 => a = word(i.k),
            0x54 => a &= i.k,
            0x05 => at += i.k as usize,
            0x15 => at += branch(a == i.k),
            0x25 => at += branch(a > i.k),
            0x35 => at += branch(a >= i.k),
            0x45 => at += branch(a & i.k != 0),
            0x06 => return (i.k, steps),
            code => panic!("instruction {code:#x}"),
        }
    }
}
