using System.Runtime.InteropServices;

namespace Edge.Testing.Modbus;

/// <summary>Two pseudo-terminals joined like a null-modem cable: what is written to one path is read from the other.</summary>
public sealed partial class PtyPair : IDisposable
{
    private const int ReadWrite = 2;
    private const int NoControl = 0x100;
    private readonly int[] _masters = new int[2];

    // Held open, so that a master is not told of a hang-up while nobody else has its slave open.
    private readonly int[] _slaves = new int[2];
    private readonly Thread _pump;
    private volatile bool _stop;
    private volatile byte[]? _noise;

    public PtyPair()
    {
        var paths = new string[2];
        for (var i = 0; i < 2; i++)
        {
            _masters[i] = Check(PosixOpenPt(ReadWrite | NoControl), "posix_openpt");
            Check(GrantPt(_masters[i]), "grantpt");
            Check(UnlockPt(_masters[i]), "unlockpt");
            paths[i] = Name(_masters[i]);
            _slaves[i] = Check(Open(paths[i], ReadWrite | NoControl), "open");
            MakeRaw(_slaves[i]);
        }

        (PathA, PathB) = (paths[0], paths[1]);
        _pump = new Thread(Pump) { IsBackground = true, Name = "pty pair" };
        _pump.Start();
    }

    public string PathA { get; }

    public string PathB { get; }

    /// <summary>Puts these bytes before the next ones that go to <see cref="PathA"/>.</summary>
    public void NoiseToA(byte[] bytes) => _noise = bytes;

    public void Dispose()
    {
        _stop = true;
        _pump.Join();
        foreach (var fd in _masters.Concat(_slaves))
            _ = Close(fd);
    }

    private static int Check(int result, string call) => result >= 0 ? result : throw new IOException($"{call}: {Marshal.GetLastPInvokeErrorMessage()}");

    private static unsafe string Name(int fd)
    {
        var name = stackalloc byte[128];
        Check(-Math.Abs(PtsName(fd, name, 128)), "ptsname_r");
        return Marshal.PtrToStringUTF8((nint)name)!;
    }

    private static unsafe void MakeRaw(int fd)
    {
        var termios = stackalloc byte[128];
        Check(GetAttributes(fd, termios), "tcgetattr");
        CfMakeRaw(termios);
        Check(SetAttributes(fd, 0, termios), "tcsetattr");
    }

    private unsafe void Pump()
    {
        var polled = stackalloc PollFd[2];
        var buffer = stackalloc byte[4096];
        while (!_stop)
        {
            for (var i = 0; i < 2; i++)
                polled[i] = new PollFd { Fd = _masters[i], Events = 1 };
            if (Poll(polled, 2, 50) <= 0)
                continue;
            for (var i = 0; i < 2; i++)
            {
                if ((polled[i].Results & 1) == 0)
                    continue;
                var read = Read(_masters[i], buffer, 4096);
                if (i == 1 && read > 0 && _noise is { } noise)
                {
                    _noise = null;
                    fixed (byte* start = noise)
                        _ = Write(_masters[0], start, noise.Length);
                }

                for (nint sent = 0; read > 0 && sent < read;)
                    sent += Math.Max(0, Write(_masters[1 - i], buffer + sent, read - sent));
            }
        }
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct PollFd
    {
        public int Fd;
        public short Events;
        public short Results;
    }

    [LibraryImport("libc", EntryPoint = "posix_openpt", SetLastError = true)]
    private static partial int PosixOpenPt(int flags);

    [LibraryImport("libc", EntryPoint = "grantpt", SetLastError = true)]
    private static partial int GrantPt(int fd);

    [LibraryImport("libc", EntryPoint = "unlockpt", SetLastError = true)]
    private static partial int UnlockPt(int fd);

    [LibraryImport("libc", EntryPoint = "ptsname_r", SetLastError = true)]
    private static unsafe partial int PtsName(int fd, byte* name, nint size);

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int Close(int fd);

    [LibraryImport("libc", EntryPoint = "read", SetLastError = true)]
    private static unsafe partial nint Read(int fd, byte* buffer, nint size);

    [LibraryImport("libc", EntryPoint = "write", SetLastError = true)]
    private static unsafe partial nint Write(int fd, byte* buffer, nint size);

    [LibraryImport("libc", EntryPoint = "poll", SetLastError = true)]
    private static unsafe partial int Poll(PollFd* fds, nuint count, int timeoutMs);

    [LibraryImport("libc", EntryPoint = "tcgetattr", SetLastError = true)]
    private static unsafe partial int GetAttributes(int fd, byte* termios);

    [LibraryImport("libc", EntryPoint = "tcsetattr", SetLastError = true)]
    private static unsafe partial int SetAttributes(int fd, int when, byte* termios);

    [LibraryImport("libc", EntryPoint = "cfmakeraw")]
    private static unsafe partial void CfMakeRaw(byte* termios);
}
