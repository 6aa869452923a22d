using System.Collections.Frozen;
using System.Runtime.InteropServices;

namespace Edge.Protocol.Modbus.Lines;

/// <summary>The C library's terminal and epoll calls. Layouts are those of Linux on x86-64 and arm64.</summary>
internal static partial class SerialNative
{
    public const int ReadWrite = 2;
    public const int NoControl = 0x100;
    public const int NonBlocking = 0x800;
    public const int CloseOnExec = 0x80000;
    public const int Again = 11;
    public const int Interrupted = 4;
    public const int FlushInput = 0;
    public const int LockExclusive = 2;
    public const int LockNoWait = 4;
    public const nuint ExclusiveOn = 0x540C;
    public const nuint ExclusiveOff = 0x540D;
    public const uint EpollIn = 1;
    public const uint EpollOut = 4;
    public const uint EpollOneShot = 1u << 30;
    public const int EpollAdd = 1;
    public const int EpollDelete = 2;
    public const int EpollModify = 3;

    // termios.h, asm-generic/termbits.h
    private const uint CharacterSizeMask = 0x30;
    private const uint Size7 = 0x20;
    private const uint Size8 = 0x30;
    private const uint TwoStopBits = 0x40;
    private const uint Receive = 0x80;
    private const uint ParityOn = 0x100;
    private const uint ParityOdd = 0x200;
    private const uint Local = 0x800;
    private const uint HardwareFlow = 0x80000000;
    private const uint CheckParity = 0x10;

    /// <summary>Baud rate to its constant (B9600 …).</summary>
    public static FrozenDictionary<int, uint> Speeds { get; } = new Dictionary<int, uint>
    {
        [300] = 7, [600] = 8, [1200] = 9, [1800] = 10, [2400] = 11, [4800] = 12, [9600] = 13, [19200] = 14, [38400] = 15,
        [57600] = 0x1001, [115200] = 0x1002, [230400] = 0x1003, [460800] = 0x1004, [500000] = 0x1005, [576000] = 0x1006, [921600] = 0x1007, [1000000] = 0x1008,
    }.ToFrozenDictionary();

    [StructLayout(LayoutKind.Sequential)]
    internal unsafe struct Termios
    {
        public uint InputFlags;
        public uint OutputFlags;
        public uint ControlFlags;
        public uint LocalFlags;
        public byte Line;
        public fixed byte ControlCharacters[32];
        public uint InputSpeed;
        public uint OutputSpeed;
    }

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "close", SetLastError = true)]
    public static partial int Close(int fd);

    [LibraryImport("libc", EntryPoint = "read", SetLastError = true)]
    public static unsafe partial nint Read(int fd, byte* buffer, nint size);

    [LibraryImport("libc", EntryPoint = "write", SetLastError = true)]
    public static unsafe partial nint Write(int fd, byte* buffer, nint size);

    [LibraryImport("libc", EntryPoint = "tcflush", SetLastError = true)]
    public static partial int Flush(int fd, int queue);

    [LibraryImport("libc", EntryPoint = "flock", SetLastError = true)]
    public static partial int FileLock(int fd, int operation);

    // The request is an unsigned long, and ioctl's further arguments are variadic; these two have none.
    [LibraryImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    public static partial int Control(int fd, nuint request);

    [LibraryImport("libc", EntryPoint = "epoll_create1", SetLastError = true)]
    public static partial int EpollCreate(int flags);

    [LibraryImport("libc", EntryPoint = "epoll_ctl", SetLastError = true)]
    public static unsafe partial int EpollControl(int epoll, int operation, int fd, byte* oneEvent);

    [LibraryImport("libc", EntryPoint = "epoll_wait", SetLastError = true)]
    public static unsafe partial int EpollWait(int epoll, byte* events, int count, int timeoutMs);

    [LibraryImport("libc", EntryPoint = "tcgetattr", SetLastError = true)]
    private static unsafe partial int GetAttributes(int fd, Termios* termios);

    [LibraryImport("libc", EntryPoint = "tcsetattr", SetLastError = true)]
    private static unsafe partial int SetAttributes(int fd, int when, Termios* termios);

    [LibraryImport("libc", EntryPoint = "cfmakeraw")]
    private static unsafe partial void MakeRaw(Termios* termios);

    [LibraryImport("libc", EntryPoint = "cfsetspeed", SetLastError = true)]
    private static unsafe partial int SetSpeed(Termios* termios, uint speed);

    /// <summary>Raw bytes with these settings, no flow control. Returns what failed; empty when nothing did.</summary>
    public static unsafe string Configure(int fd, SerialSettings settings)
    {
        Termios termios;
        if (GetAttributes(fd, &termios) != 0)
            return $"is no serial line: {Marshal.GetLastPInvokeErrorMessage()}";
        MakeRaw(&termios);
        termios.ControlFlags &= ~(CharacterSizeMask | TwoStopBits | ParityOn | ParityOdd | HardwareFlow);
        termios.ControlFlags |= Receive | Local | (settings.DataBits == 7 ? Size7 : Size8) | (settings.StopBits == 2 ? TwoStopBits : 0);
        if (settings.Parity != SerialParity.None)
        {
            termios.ControlFlags |= ParityOn | (settings.Parity == SerialParity.Odd ? ParityOdd : 0);
            termios.InputFlags |= CheckParity;
        }

        if (SetSpeed(&termios, Speeds[settings.BaudRate]) != 0 || SetAttributes(fd, 0, &termios) != 0)
            return $"does not take {settings}: {Marshal.GetLastPInvokeErrorMessage()}";
        return "";
    }
}
