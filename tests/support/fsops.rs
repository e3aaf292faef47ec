//! Random lists of file system calls for the guest `fsops`, which describes their form.

use super::Random;

/// The calls: how often, how the result is shown (see the guest), name, kinds of arguments ([`Generator::argument`]).
/// Plain numbers and `@N` stand for themselves; `-1` is the guest's own call, a whole directory.
const CALLS: &str = "
30 f  openat       AT REACH OPEN MODE
 3 f  openat       AT PATH LINKPATH 0
 4 f  open         REACH OPEN MODE
 3 f  creat        PATH MODE
12 f  openat2      AT PATH HOW HOWSIZE
14 f  openat       AT REACH OPENDIR 0
 4 f  openat       AT REACH TMPFILE MODE
 5 n  close        FD
 3 f  dup          FD

 8 n  write        FD =0123456789 TEN
 3 n  pwrite64     FD =0123456789 TEN LENGTH
 5 b1 read         FD @64 64
 3 b1 pread64      FD @64 64 LENGTH
 3 n  lseek        FD LENGTH WHENCE
 4 n  ftruncate    FD LENGTH
 6 n  truncate     REACH LENGTH
 1 n  fallocate    FD FALLOCATE 0 5000
 1 n  fsync        FD

 14 n  mkdirat      AT PATH MODE
 4 n  mkdir        PATH MODE
 3 n  rmdir        PATH
 3 n  unlink       PATH
 5 n  unlinkat     AT PATH UNLINK
 8 n  rename       PATH PATH
 4 n  renameat     AT PATH AT PATH
12 n  renameat2    AT PATH AT PATH RENAME
 5 n  link         PATH PATH
10 n  linkat       AT PATH AT PATH LINK
 4 n  linkat       -100 =/proc/self/fd/FD AT PATH 1024
 4 n  linkat       FD = AT PATH 4096
 5 n  symlink      TARGET PATH
 7 n  symlinkat    TARGET AT PATH
 3 n  mknod        PATH NODE 0
 3 n  mknodat      AT PATH NODE DEV

 5 b1 readlink     PATH @100 SIZE
 6 b2 readlinkat   AT PATH @100 SIZE
 6 s1 stat         REACH @144
 6 s1 lstat        PATH @144
 4 s1 fstat        FD @144
 8 s2 newfstatat   AT PATH @144 STAT
 8 x4 statx        AT PATH STAT STATX @256
 2 v1 statfs       REACH @120
 2 v1 fstatfs      FD @120
 4 n  access       REACH ACCESS
 3 n  faccessat    AT REACH ACCESS
 5 n  faccessat2   AT PATH ACCESS EACCESS

 6 n  chmod        REACH MODE
 4 n  fchmod       FD MODE
 4 n  fchmodat     AT REACH MODE
 5 n  fchmodat2    AT PATH MODE STAT
 3 n  chown        REACH UID GID
 3 n  lchown       PATH UID GID
 3 n  fchown       FD UID GID
 4 n  fchownat     AT PATH UID GID STAT
 8 n  utimensat    AT PATH NSTIMES STAT
 4 n  utimensat    FD 0 NSTIMES STAT
 2 n  utime        REACH TIMES
 2 n  utimes       REACH USTIMES
 2 n  futimesat    AT REACH USTIMES

 4 n  setxattr     REACH XATTR VALUE XSIZE XFLAGS
 2 n  lsetxattr    PATH XATTR VALUE XSIZE XFLAGS
 3 n  fsetxattr    FD XATTR VALUE XSIZE XFLAGS
 4 b2 getxattr     REACH XATTR @100 SIZE
 2 b2 lgetxattr    PATH XATTR @100 SIZE
 3 b2 fgetxattr    FD XATTR @100 SIZE
 3 b1 listxattr    REACH @8192 SIZE
 2 b1 llistxattr   PATH @8192 SIZE
 2 b1 flistxattr   FD @8192 SIZE
 2 n  removexattr  REACH XATTR
 2 n  lremovexattr PATH XATTR
 2 n  fremovexattr FD XATTR

12 n  chdir        REACH
 6 n  fchdir       DIR
 6 b0 getcwd       @4096 CWDSIZE
 3 n  umask        UMASK
 5 d1 getdents64   DIR @120 DENTS
 6 n  -1           DIR DENTS
";

/// What every list begins with: something to work on.
const PRELUDE: &str = "
0 n mkdir =a 493
0 n mkdir =a/b 493
0 n mkdir =b 448
0 f2 openat -100 =a/c 577 420
0 n write 102 =content 7
0 n symlink =a =d
0 n symlink =../a/c =b/e
0 n symlink =none =a/e
0 n mkdir =c 493
0 f0 openat -100 =a 65536 0
0 f1 openat -100 =. 65536 0
1 f0 openat -100 =a 65536 0
1 f2 openat -100 =a/d 66 420
1 n chdir =b
2 f1 openat -100 =a/b 2097152 0
2 f0 openat -100 =c 65536 0
2 f2 openat -100 =c/d 66 420
";

/// Names in the tree. Few, so that calls meet each other's files.
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
/// Names that are valid, but rarely seen.
const ODD_NAMES: [&str; 8] = [
    "%01%ff%0a",
    "%20",
    "a%20(deleted)",
    "...",
    ".hidden",
    "%e2%82%ac",
    "-",
    "a%5cb",
];
/// Processes that take turns, and descriptors of each; as in the guest.
const PROCESSES: u64 = 3;
const SLOT: u64 = 100;
const SLOTS: u64 = 4;
const CWD: i64 = libc::AT_FDCWD as i64;
/// A flag that no call knows.
const UNKNOWN: i64 = 0x0800_0000;

/// Makes lists.
pub(crate) struct Generator<'r> {
    random: &'r mut Random,
    /// Where the guest starts.
    home: String,
    /// Ids that a file may be given by its owner. Others are refused in other words in a user namespace, where the
    /// guest runs natively if the user isn't root.
    ids: Vec<i64>,
    /// There may be FIFOs: every open has `O_NONBLOCK`, so that nobody waits.
    fifos: bool,
    calls: Vec<(u64, &'static str)>,
    weights: u64,
}

impl<'r> Generator<'r> {
    pub(crate) fn new(random: &'r mut Random, home: &str, uid: u32) -> Self {
        let mut ids = vec![-1];
        if nix::unistd::getgid().as_raw() == uid {
            ids.extend([i64::from(uid); 2]);
        }
        if uid == 0 {
            ids.push(1);
        }
        let fifos = random.below(2) == 0;
        let calls: Vec<(u64, &str)> = CALLS
            .lines()
            .filter_map(|line| line.trim_start().split_once(' '))
            .map(|(weight, call)| (weight.parse().expect("a weight"), call))
            .filter(|(_, call)| !(fifos && call.contains("creat ")))
            .collect();
        let weights = calls.iter().map(|(weight, _)| weight).sum();
        Self {
            random,
            home: home.to_owned(),
            ids,
            fifos,
            calls,
            weights,
        }
    }

    /// A list of `count` calls after the prelude.
    pub(crate) fn list(&mut self, count: u64) -> Vec<String> {
        let mut lines: Vec<String> = PRELUDE
            .lines()
            .filter(|l| !l.is_empty())
            .map(|line| {
                let mut words: Vec<_> = line.split(' ').map(str::to_owned).collect();
                words[2] = number(&words[2]);
                words.join(" ")
            })
            .collect();
        let mut process = 0;
        for _ in 0..count {
            // Mostly the one that had its turn: passing it on takes time.
            if self.below(4) == 0 {
                process = self.below(PROCESSES);
            }
            let call = self.call();
            lines.push(format!("{process} {call}"));
        }
        lines
    }

    fn call(&mut self) -> String {
        let mut at = self.below(self.weights);
        let (_, template) = *self
            .calls
            .iter()
            .find(|(weight, _)| {
                let found = at < *weight;
                at = at.wrapping_sub(*weight);
                found
            })
            .expect("a call");
        let mut words = template.split_whitespace();
        let show = match words.next().expect("how it is shown") {
            // Directories in the lower half, so that descriptors are mostly of the kind that is wanted.
            "f" if template.contains("OPENDIR") => format!("f{}", self.below(SLOTS / 2)),
            "f" => format!("f{}", SLOTS / 2 + self.below(SLOTS / 2)),
            other => other.to_owned(),
        };
        let mut line = format!("{show} {}", number(words.next().expect("a name")));
        for word in words {
            line.push(' ');
            line += &self.argument(word);
        }
        line
    }

    fn below(&mut self, n: u64) -> u64 {
        // The lower bits of a shift register follow each other too closely.
        (self.random.below(u64::MAX) >> 17) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// Some of these bits, each with one chance in its number; seldom one that no call knows.
    fn bits(&mut self, bits: &[(u64, i64)]) -> i64 {
        let known = bits.iter().fold(
            0,
            |all, &(n, bit)| if self.one_in(n) { all | bit } else { all },
        );
        if self.one_in(60) {
            known | UNKNOWN
        } else {
            known
        }
    }

    /// A random argument of a kind, as the guest reads it.
    fn argument(&mut self, kind: &str) -> String {
        let flag = i64::from;
        let number = match kind {
            "PATH" => return self.path(),
            // Of calls that follow: changing what lies in /proc is refused in other words (EROFS).
            "REACH" if self.one_in(30) => return format!("=/proc/self/fd/{}", self.descriptor()),
            "REACH" => return self.path(),
            "TARGET" => return self.target(),
            "=/proc/self/fd/FD" => return format!("=/proc/self/fd/{}", self.descriptor()),
            "HOW" => return self.how(),
            "NSTIMES" => return self.times(999_999_999),
            "USTIMES" => return self.times(999_999),
            "TIMES" if self.one_in(4) => 0,
            "TIMES" => return format!(":{},{}", self.below(1000), self.below(1000)),
            "XATTR" => return self.attribute(),
            "VALUE" if self.one_in(30) => 8,
            "VALUE" => return self.pick(&["=v", "=value%ff%00", "=0123456789"]).to_owned(),
            "FD" => self.descriptor(),
            "AT" if !self.one_in(4) => CWD,
            "AT" | "DIR" if !self.one_in(20) => (SLOT + self.below(SLOTS / 2)) as i64,
            "AT" | "DIR" => self.descriptor(),
            "OPEN" => self.open_flags(),
            "OPENDIR" => flag(libc::O_DIRECTORY) | self.bits(&[(4, flag(libc::O_PATH))]),
            "LINKPATH" => flag(libc::O_PATH | libc::O_NOFOLLOW),
            "TMPFILE" => {
                let mode = self.pick(&[libc::O_RDWR, libc::O_RDWR, libc::O_WRONLY, libc::O_RDONLY]);
                flag(libc::O_TMPFILE | mode) | self.bits(&[(5, flag(libc::O_EXCL))])
            }
            "HOWSIZE" => self.pick(&[24, 24, 24, 24, 24, 24, 32, 40, 23, 0, 5000]),
            "MODE" => self.mode(),
            "NODE" => self.node(),
            "DEV" => self.pick(&[0, 0, 0x103]),
            "TEN" => self.pick(&[10, 10, 5, 0]),
            "LENGTH" => self.pick(&[0, 0, 3, 10, 4096, 5000, 100_000, -1, 1 << 62]),
            "WHENCE" => self.pick(&[0, 0, 0, 1, 2, 3, 4, 9]),
            "FALLOCATE" => self.pick(&[0, 1, 2, 3, 16]),
            "UNLINK" => self.bits(&[(3, flag(libc::AT_REMOVEDIR))]),
            "RENAME" => {
                if self.one_in(40) {
                    self.pick(&[3, 5, 6, 8])
                } else {
                    self.pick(&[0, 0, 1, 1, 2, 2])
                }
            }
            "LINK" => self.bits(&[
                (4, flag(libc::AT_SYMLINK_FOLLOW)),
                (12, flag(libc::AT_EMPTY_PATH)),
            ]),
            // Whether wrong flags count for a descriptor depends on the kernel (Linux 6.11).
            "STAT" if self.one_in(5) => {
                let empty = flag(libc::AT_EMPTY_PATH);
                empty | self.pick(&[0, flag(libc::AT_SYMLINK_NOFOLLOW)])
            }
            "STAT" => self.bits(&[
                (3, flag(libc::AT_SYMLINK_NOFOLLOW)),
                (20, flag(libc::AT_NO_AUTOMOUNT)),
                (30, 0x2000),
                (30, 0x4000),
            ]),
            "EACCESS" => self.bits(&[
                (3, flag(libc::AT_SYMLINK_NOFOLLOW)),
                (3, flag(libc::AT_EACCESS)),
                (5, flag(libc::AT_EMPTY_PATH)),
            ]),
            "STATX" => self.pick(&[0x7ff, 0x7ff, 0xfff, 1, 2, 0, 0x1fff, 0x8000_0000]),
            "ACCESS" => self.pick(&[0, 1, 2, 3, 4, 5, 6, 7, 7, 8, -1]),
            "SIZE" => self.pick(&[100, 100, 100, 3, 1, 0, -1]),
            "CWDSIZE" => self.pick(&[4096, 4096, 4096, 20, 1, 0]),
            "DENTS" => self.pick(&[120, 120, 64, 24, 10, 0]),
            "UMASK" => match self.below(12) {
                0 => self.pick(&[0o777, 0o277]),
                _ => self.pick(&[0o22, 0o22, 0, 0o77, 0o27, 0o10022]),
            },
            "UID" | "GID" => {
                let at = self.below(self.ids.len() as u64) as usize;
                self.ids[at]
            }
            "XSIZE" => self.pick(&[1, 5, 10, 10, 0, 70_000]),
            "XFLAGS" => self.pick(&[0, 0, 0, 0, 1, 2, 3, 4]),
            itself => return itself.to_owned(),
        };
        number.to_string()
    }

    /// Mostly a descriptor that may be open; seldom none.
    fn descriptor(&mut self) -> i64 {
        match self.below(40) {
            0 => -1,
            1 => 99,
            _ => (SLOT + self.below(SLOTS)) as i64,
        }
    }

    /// Mostly modes that keep things going.
    fn mode(&mut self) -> i64 {
        match self.below(12) {
            0 if self.one_in(4) => self.below(0o10000) as i64,
            1 if self.one_in(4) => self.pick(&[0, 0o111, 0o222, 0o333, 0o444, 0o555, 0o170_777]),
            2 => self.pick(&[0o1777, 0o2755, 0o4755, 0o2644, 0o6711]),
            _ => self.pick(&[0o755, 0o700, 0o777, 0o775]),
        }
    }

    fn node(&mut self) -> i64 {
        let kinds = [
            libc::S_IFREG,
            0,
            libc::S_IFSOCK,
            libc::S_IFCHR,
            libc::S_IFBLK,
            libc::S_IFDIR,
            libc::S_IFLNK,
            0o150_000,
        ];
        let kind = match self.below(3) {
            0 if self.fifos => libc::S_IFIFO,
            1 => libc::S_IFSOCK,
            _ => self.pick(&kinds),
        };
        i64::from(kind) | (self.mode() & 0o7777)
    }

    fn open_flags(&mut self) -> i64 {
        let flag = i64::from;
        let mode = self.pick(&[libc::O_RDONLY, libc::O_RDWR, libc::O_WRONLY]);
        let mut flags = flag(mode)
            | self.bits(&[
                (2, flag(libc::O_CREAT)),
                (6, flag(libc::O_EXCL)),
                (6, flag(libc::O_TRUNC)),
                (8, flag(libc::O_DIRECTORY)),
                (7, flag(libc::O_NOFOLLOW)),
                (9, flag(libc::O_PATH)),
                (9, flag(libc::O_APPEND)),
                (6, flag(libc::O_CLOEXEC)),
                (40, flag(libc::O_SYNC)),
                (40, flag(libc::O_NOCTTY)),
                (40, flag(libc::O_NOATIME)),
                (40, flag(libc::O_TMPFILE)),
                (60, 3),
                (60, 0o100_000),
            ]);
        // The links of /proc can't themselves be had by O_PATH: a limit of sbox.
        if flags & flag(libc::O_PATH) != 0 {
            flags &= !flag(libc::O_NOFOLLOW);
        }
        if self.fifos || self.one_in(5) {
            flags |= flag(libc::O_NONBLOCK);
        }
        flags
    }

    /// `struct open_how`, sometimes longer than the one of today.
    fn how(&mut self) -> String {
        let flags = match self.below(3) {
            0 => i64::from(libc::O_DIRECTORY | libc::O_NONBLOCK),
            1 => i64::from(libc::O_PATH),
            _ => self.open_flags(),
        };
        let makes = flags & i64::from(libc::O_CREAT) != 0
            || flags & i64::from(libc::O_TMPFILE) == i64::from(libc::O_TMPFILE);
        let mode = if makes || self.one_in(20) {
            self.mode()
        } else {
            0
        };
        let resolve = self.bits(&[
            (4, libc::RESOLVE_NO_XDEV as i64),
            (4, libc::RESOLVE_NO_MAGICLINKS as i64),
            (4, libc::RESOLVE_NO_SYMLINKS as i64),
            (3, libc::RESOLVE_BENEATH as i64),
            (3, libc::RESOLVE_IN_ROOT as i64),
        ]);
        let more = if self.one_in(20) { 1 } else { 0 };
        format!(":{flags},{mode},{resolve},{more},0")
    }

    /// Two times, the second part up to `most`; sometimes "now".
    fn times(&mut self, most: i64) -> String {
        if self.one_in(5) {
            return "0".into();
        }
        let mut time = || {
            let part = match self.below(10) {
                0..3 => 0x3fff_ffff, // UTIME_NOW
                3..5 => 0x3fff_fffe, // UTIME_OMIT
                5 => most + 1,
                _ => self.pick(&[0, 5, most]),
            };
            format!("{},{part}", self.pick(&[0, 1, 1000, 999_999_999, -5]))
        };
        format!(":{},{}", time(), time())
    }

    fn attribute(&mut self) -> String {
        let long = |n| format!("=user.{}", "x".repeat(n));
        match self.below(24) {
            0 => "=".into(),
            1 => long(250),
            2 => long(251),
            3 => self
                .pick(&[
                    "=trusted.a",
                    "=nothing",
                    "=user.",
                    "=security.a",
                    "=system.b",
                ])
                .to_owned(),
            4 => "=system.posix_acl_access".into(),
            _ => self.pick(&["=user.a", "=user.b", "=user.%ff"]).to_owned(),
        }
    }

    fn name(&mut self) -> String {
        match self.below(60) {
            0 => self.pick(&ODD_NAMES).to_owned(),
            1 if self.one_in(2) => "n".repeat(255),
            2 if self.one_in(2) => "n".repeat(256),
            _ => self.pick(&NAMES).to_owned(),
        }
    }

    fn at_home(&mut self, below: fn(&mut Self) -> String) -> String {
        let below = below(self);
        format!("{}/{below}", self.home)
    }

    /// Names with slashes between and around them, of all the ways in which paths are written.
    fn relative(&mut self) -> String {
        let mut path = self.name();
        let mut climbs = 0;
        for _ in 0..self.pick(&[0, 0, 0, 0, 0, 1, 1, 1, 2]) {
            path += self.pick(&["/", "/", "/", "/", "/", "//", "/./"]);
            if climbs < 2 && self.one_in(8) {
                climbs += 1;
                path += "../";
            }
            path += &self.name();
        }
        match self.below(24) {
            0 | 1 => path + "/",
            2 => path + "/.",
            3 => path + "/..",
            4 => path + "//",
            5 => "./".to_owned() + &path,
            6 => "../".to_owned() + &path,
            _ => path,
        }
    }

    fn path(&mut self) -> String {
        let path = match self.below(60) {
            0 => String::new(),
            1 => ".".into(),
            2 => self.pick(&["..", "../", "./", "../.", "../.."]).to_owned(),
            3..8 => self.at_home(Self::relative),
            8 | 9 => format!("/proc/self/fd/{}/{}", self.descriptor(), self.name()),
            10 => format!("/proc/self/cwd/{}", self.relative()),
            11 => {
                let length = self.pick(&[4094, 4095, 4096, 5000]);
                let more = self.pick(&["./", "//"]).repeat(length / 2 - 2);
                let name = self.pick(&NAMES);
                "./".to_owned() + &more + &name.repeat(length - 2 * (length / 2 - 1))
            }
            12 => return self.pick(&["0", "8", "-1"]).to_owned(),
            _ => self.relative(),
        };
        format!("={path}")
    }

    /// The text of a link. It climbs one step at most, and down again: no walk leaves the margin above `home`.
    fn target(&mut self) -> String {
        let text = match self.below(30) {
            0 => ".".into(),
            1 => String::new(),
            2..6 => format!("../{}", self.name()),
            6..10 => self.at_home(Self::name),
            10 => format!("/proc/self/fd/{}", self.descriptor()),
            11 => "/proc/self/cwd".into(),
            12 => "t".repeat(self.pick(&[4095, 4096]) as usize),
            13 => format!("{}/", self.name()),
            _ => {
                let name = self.name();
                if self.one_in(3) {
                    format!("{name}/{}", self.name())
                } else {
                    name
                }
            }
        };
        format!("={text}")
    }
}

/// A call's number; the guest's own calls are numbers already.
fn number(name: &str) -> String {
    name.parse::<syscalls::Sysno>()
        .map_or(name.to_owned(), |call| call.id().to_string())
}

/// The line that [`readable`] made into this one.
pub(crate) fn written(line: &str) -> String {
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let call: syscalls::Sysno = words[2].parse().expect("the name of a call");
    words[2] = call.id().to_string();
    words.join(" ")
}

/// A line of a list for people: the number replaced by the name.
pub(crate) fn readable(line: &str) -> String {
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    if let Some(call) = words[2].parse().ok().and_then(syscalls::Sysno::new) {
        words[2] = call.name().to_owned();
    }
    for word in words.iter_mut().filter(|w| w.len() > 200) {
        *word = format!("{}…({} bytes)", &word[..8], word.len());
    }
    words.join(" ")
}
