using System.Runtime.InteropServices;

namespace Edge.GlobalServices.Health;

/// <summary>Non-blocking TCP by Linux' own calls. <see cref="System.Net.Sockets.Socket"/> wakes two threads for each step of an exchange, which costs more
/// than the exchange.</summary>
internal static unsafe partial class ProbeNative
{
    public const int PollIn = 1;
    public const int PollOut = 4;
    public const int PollError = 8;
    public const int PollHangup = 16;

    public const int Again = 11; // EAGAIN
    public const int TooManyInSystem = 23; // ENFILE
    public const int TooMany = 24; // EMFILE
    public const int InProgress = 115; // EINPROGRESS

    private const int Stream = 0x1 | 0x800 | 0x80000; // SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC
    private const int NoSignal = 0x4000; // MSG_NOSIGNAL
    private const int SocketLevel = 1; // SOL_SOCKET
    private const int ErrorOption = 4; // SO_ERROR
    private const int LingerOption = 13; // SO_LINGER
    private const int TcpLevel = 6; // IPPROTO_TCP
    private const int QuickAckOption = 12; // TCP_QUICKACK
    private const int OpenFiles = 7; // RLIMIT_NOFILE

    /// <summary>struct pollfd</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct Polled
    {
        public int File;
        public short Wanted;
        public short Seen;
    }

    /// <summary>A socket; below 0, <see cref="Error"/> says why not.</summary>
    /// <param name="family">2 for IPv4, 10 for IPv6.</param>
    public static int Open(int family) => Socket(family, Stream, 0);

    /// <summary>Begins to connect. 0 or <see cref="InProgress"/> when it goes on, else the errno.</summary>
    public static int Connect(int file, ReadOnlySpan<byte> address)
    {
        fixed (byte* bytes = address)
            return Connect(file, bytes, (uint)address.Length) == 0 ? 0 : Error;
    }

    /// <summary>To be called before <see cref="Connect(int, ReadOnlySpan{byte})"/> where a request follows at once: it then is the acknowledgement that ends the
    /// handshake (tcp(7), TCP_QUICKACK), so that one packet and one wake of the server are saved.</summary>
    public static void AcknowledgeByRequest(int file)
    {
        var off = 0;
        _ = SetOption(file, TcpLevel, QuickAckOption, &off, sizeof(int)); // where it is refused, the handshake ends as always
    }

    /// <summary>Closes with a reset (socket(7), SO_LINGER of 0 s): neither side keeps a connection in TIME_WAIT for a minute, which after 30,000 checks each 10 s
    /// would be 180,000 of them. Only for a connection that nothing more is expected of.</summary>
    public static void Reset(int file)
    {
        var linger = stackalloc int[2] { 1, 0 };
        _ = SetOption(file, SocketLevel, LingerOption, linger, 2 * sizeof(int)); // where it is refused, it is closed as always
        _ = Close(file);
    }

    /// <summary>Bytes sent; below 0, <see cref="Error"/> says why none.</summary>
    public static int Send(int file, ReadOnlySpan<byte> bytes)
    {
        fixed (byte* first = bytes)
            return (int)Send(file, first, (nuint)bytes.Length, NoSignal);
    }

    /// <summary>Bytes received, 0 at the end; below 0, <see cref="Error"/> says why none.</summary>
    public static int Receive(int file, Span<byte> bytes)
    {
        fixed (byte* first = bytes)
            return (int)Receive(file, first, (nuint)bytes.Length, 0);
    }

    /// <summary>What can go on now; never waits.</summary>
    public static int Poll(Span<Polled> files)
    {
        fixed (Polled* first = files)
            return Poll(first, (nuint)files.Length, 0);
    }

    /// <summary>The errno that waits at a socket, 0 for none.</summary>
    public static int ErrorOf(int file)
    {
        var (error, length) = (0, (uint)sizeof(int));
        return Option(file, SocketLevel, ErrorOption, &error, &length) == 0 ? error : Error;
    }

    /// <summary>How many files this process may have open.</summary>
    public static long FilesMax()
    {
        var limits = stackalloc ulong[2];
        return Limit(OpenFiles, limits) == 0 ? (long)Math.Min(limits[0], int.MaxValue) : 1024;
    }

    /// <summary>The errno of the call just made on this thread.</summary>
    public static int Error => Marshal.GetLastPInvokeError();

    [LibraryImport("libc", EntryPoint = "close")]
    public static partial int Close(int file);

    [LibraryImport("libc", EntryPoint = "socket", SetLastError = true)]
    private static partial int Socket(int family, int type, int protocol);

    [LibraryImport("libc", EntryPoint = "connect", SetLastError = true)]
    private static partial int Connect(int file, byte* address, uint length);

    [LibraryImport("libc", EntryPoint = "send", SetLastError = true)]
    private static partial nint Send(int file, byte* bytes, nuint length, int flags);

    [LibraryImport("libc", EntryPoint = "recv", SetLastError = true)]
    private static partial nint Receive(int file, byte* bytes, nuint length, int flags);

    [LibraryImport("libc", EntryPoint = "poll", SetLastError = true)]
    private static partial int Poll(Polled* files, nuint count, int milliseconds);

    [LibraryImport("libc", EntryPoint = "getsockopt", SetLastError = true)]
    private static partial int Option(int file, int level, int name, int* value, uint* length);

    [LibraryImport("libc", EntryPoint = "setsockopt")]
    private static partial int SetOption(int file, int level, int name, int* value, uint length);

    [LibraryImport("libc", EntryPoint = "getrlimit", SetLastError = true)]
    private static partial int Limit(int resource, ulong* limits);
}
