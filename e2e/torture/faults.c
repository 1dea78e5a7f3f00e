/* Runs a program whose system calls on files below a folder fail, or only seem to succeed, when we say so.
 *
 *   faults CLASS[:N:ERRNO] FOLDER PROGRAM [ARGUMENT…]       CLASS: write, sync, rename, open, read; N and ERRNO as for `arm`,
 *                                                           from the first call of the program on
 *
 * A seccomp filter sends every call of the class to us before the kernel looks at it, whoever makes it: the C library, a
 * program's own system call, any thread. So the count is one for the whole process, which neither a preloaded library (it
 * sees only the C library's calls) nor strace's `when=` (it counts for each thread alone) can give.
 *
 * Words on standard input, one a line, each answered by one line on standard output:
 *   arm N ERRNO     the N-th call from now on fails with this number, once; later ones succeed
 *   lie TEXT        calls on files whose path holds TEXT return 0 and nothing is done ("-": on every file); until disarmed
 *   disarm          nothing fails
 *   told            COUNT calls since armed, then what failed: its call and path, or "-"; of a flush also whether its file was
 *                   "dirty", written to since it was last flushed, or "clean"
 * The first line is "pid PID". The end of standard input kills the program; its exit status is ours. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum where { BY_FD, BY_PATH, BY_PATH_AT };
struct call { int number; const char *name, *class; enum where where; };

static const struct call CALLS[] = {
    {SYS_write, "write", "write", BY_FD},           {SYS_pwrite64, "pwrite", "write", BY_FD},
    {SYS_writev, "writev", "write", BY_FD},         {SYS_pwritev, "pwritev", "write", BY_FD},
    {SYS_pwritev2, "pwritev2", "write", BY_FD},     {SYS_copy_file_range, "copy_file_range", "write", BY_FD},
    {SYS_ftruncate, "ftruncate", "write", BY_FD},   {SYS_fallocate, "fallocate", "write", BY_FD},
    {SYS_fsync, "fsync", "sync", BY_FD},            {SYS_fdatasync, "fdatasync", "sync", BY_FD},
    {SYS_syncfs, "syncfs", "sync", BY_FD},          {SYS_sync_file_range, "sync_file_range", "sync", BY_FD},
    {SYS_renameat, "renameat", "rename", BY_PATH_AT}, {SYS_renameat2, "renameat2", "rename", BY_PATH_AT},
    {SYS_linkat, "linkat", "rename", BY_PATH_AT},   {SYS_openat, "openat", "open", BY_PATH_AT},
    {SYS_read, "read", "read", BY_FD},              {SYS_pread64, "pread", "read", BY_FD},
    {SYS_readv, "readv", "read", BY_FD},            {SYS_preadv, "preadv", "read", BY_FD},
#ifdef SYS_rename /* architectures younger than the *at calls do not have these */
    {SYS_rename, "rename", "rename", BY_PATH},      {SYS_link, "link", "rename", BY_PATH},
    {SYS_open, "open", "open", BY_PATH},
#endif
};
#define MOST (sizeof CALLS / sizeof *CALLS)

static const char *folder;
static long count, fail_at, fail_with; /* fail_at 0: nothing is armed */
static char lie[512], failed[4500];
static int flushes;              /* whether the class is sync; then writes are watched too, but never fail */

static void die(const char *what) { perror(what); exit(125); }

static int is_watched(const struct call *call, const char *class) {
    return !strcmp(call->class, class) || (!strcmp(class, "sync") && !strcmp(call->class, "write"));
}

/* The files that were written to and not flushed since; the oldest gives way. */
static char dirty[256][300];
static unsigned next_dirty;

static int find_dirty(const char *path) {
    for (int i = 0; i < 256; i++) if (dirty[i][0] && !strncmp(dirty[i], path, sizeof dirty[i] - 1)) return i;
    return -1;
}

static void note_write(const char *path) {
    if (find_dirty(path) >= 0) return;
    char *name = dirty[next_dirty++ % 256];
    memset(name, 0, sizeof *dirty);
    memcpy(name, path, strnlen(path, sizeof *dirty - 1));
}

/* Makes this thread, and what it will run, send the calls of `class` to the returned descriptor. */
static int install(const char *class) {
    struct sock_filter code[MOST + 8];
    int n = 0, wanted = 0;
    for (size_t i = 0; i < MOST; i++) wanted += is_watched(&CALLS[i], class);
    if (!wanted) { fprintf(stderr, "faults: no class %s\n", class); exit(125); }
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < MOST; i++)
        if (is_watched(&CALLS[i], class))
            code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)CALLS[i].number, wanted--, 0);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
    struct sock_fprog program = {.len = (unsigned short)n, .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) die("faults: no_new_privs");
    int listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    if (listener < 0) die("faults: this kernel has no seccomp notifications");
    return listener;
}

static void send_descriptor(int socket, int descriptor) {
    char byte = 0, space[CMSG_SPACE(sizeof descriptor)] = {0};
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    *head = (struct cmsghdr){CMSG_LEN(sizeof descriptor), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(head), &descriptor, sizeof descriptor);
    if (sendmsg(socket, &message, 0) != 1) die("faults: sendmsg");
}

static int receive_descriptor(int socket) {
    int descriptor;
    char byte, space[CMSG_SPACE(sizeof descriptor)];
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    if (recvmsg(socket, &message, 0) != 1 || !CMSG_FIRSTHDR(&message)) exit(125); /* the child said why */
    memcpy(&descriptor, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof descriptor);
    return descriptor;
}

/* Finds the file that a call is about. */
static int path_of(const struct seccomp_notif *asked, const struct call *call, char *path, size_t room) {
    char link[64];
    if (call->where == BY_FD) {
        snprintf(link, sizeof link, "/proc/%u/fd/%d", asked->pid, (int)asked->data.args[0]);
        ssize_t length = readlink(link, path, room - 1);
        if (length < 0) return 0;
        path[length] = 0;
        return 1;
    }
    snprintf(link, sizeof link, "/proc/%u/mem", asked->pid);
    int memory = open(link, O_RDONLY | O_CLOEXEC);
    if (memory < 0) return 0;
    ssize_t length = pread(memory, path, room - 1, (off_t)asked->data.args[call->where == BY_PATH_AT]);
    close(memory);
    if (length <= 0) return 0;
    path[length] = 0;
    return 1;
}

static void decide(int listener) {
    struct seccomp_notif asked;
    struct seccomp_notif_resp answer;
    memset(&asked, 0, sizeof asked);
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked)) return; /* the caller was killed meanwhile */
    memset(&answer, 0, sizeof answer);
    answer.id = asked.id;
    answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    const struct call *call = CALLS;
    while (call->number != asked.data.nr) call++;
    char path[4096];
    if ((flushes || fail_at || lie[0]) && path_of(&asked, call, path, sizeof path) && !strncmp(path, folder, strlen(folder))) {
        const char *state = "";
        if (flushes && !strcmp(call->class, "write")) note_write(path);
        else if (flushes) {
            int at = find_dirty(path);
            state = at < 0 ? "clean " : "dirty ";
            if (at >= 0) dirty[at][0] = 0;
        }
        if (flushes && !strcmp(call->class, "write")) goto send;
        count++;
        int lies = lie[0] && (!strcmp(lie, "-") || strstr(path, lie));
        if (lies || count == fail_at) {
            answer.flags = 0;
            answer.error = lies ? 0 : -(int)fail_with;
            snprintf(failed, sizeof failed, "%s %s%s", call->name, state, path);
        }
    }
send:
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
}

/* Does what one line of standard input says; false at its end. */
static int obey(void) {
    char line[300];
    if (!fgets(line, sizeof line, stdin)) return 0;
    line[strcspn(line, "\n")] = 0;
    if (sscanf(line, "arm %ld %ld", &fail_at, &fail_with) == 2) count = 0, failed[0] = 0, puts("armed");
    else if (!strncmp(line, "lie ", 4)) count = 0, failed[0] = 0, snprintf(lie, sizeof lie, "%s", line + 4), puts("lying");
    else if (!strcmp(line, "disarm")) fail_at = 0, lie[0] = 0, puts("disarmed");
    else if (!strcmp(line, "told")) printf("%ld %s\n", count, failed[0] ? failed : "-");
    else printf("no such word: %s\n", line);
    return 1;
}

int main(int argc, char **argv) {
    int pair[2];
    if (argc < 4) { fprintf(stderr, "faults: CLASS FOLDER PROGRAM [ARGUMENT…]\n"); return 125; }
    folder = argv[2];
    if (strchr(argv[1], ':')) {
        if (sscanf(strchr(argv[1], ':'), ":%ld:%ld", &fail_at, &fail_with) != 2) { fprintf(stderr, "faults: %s?\n", argv[1]); return 125; }
        *strchr(argv[1], ':') = 0;
    }
    flushes = !strcmp(argv[1], "sync");
    setvbuf(stdin, NULL, _IONBF, 0);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) die("faults: socketpair");
    pid_t child = fork();
    if (child < 0) die("faults: fork");
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int nothing = open("/dev/null", O_RDONLY);
        dup2(nothing, 0);
        dup2(2, 1); /* our standard output belongs to the words */
        send_descriptor(pair[1], install(argv[1]));
        execv(argv[3], argv + 3);
        _exit(126);
    }
    close(pair[1]);
    int listener = receive_descriptor(pair[0]), status;
    printf("pid %d\n", child);
    struct pollfd watched[] = {{0, POLLIN, 0}, {listener, POLLIN, 0}};
    for (;;) {
        if (poll(watched, 2, -1) < 0 && errno != EINTR) die("faults: poll");
        if (watched[1].revents & POLLIN) decide(listener);
        else if (watched[1].revents & (POLLHUP | POLLERR)) break;
        if (watched[0].revents && !obey()) { kill(child, SIGKILL); break; }
    }
    if (waitpid(child, &status, 0) < 0) die("faults: waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
