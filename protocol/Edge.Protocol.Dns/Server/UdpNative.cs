using System.Runtime.InteropServices;

namespace Edge.Protocol.Dns.Server;

/// <summary>recvmmsg(2) and sendmmsg(2), with the structures of 64-bit Linux.</summary>
internal static unsafe partial class UdpNative
{
    /// <summary>Wait for the first datagram, take what else is there.</summary>
    public const int WaitForOne = 0x10000;

    /// <summary>MSG_TRUNC: the datagram was longer than its buffer.</summary>
    public const int Truncated = 0x20;

    public const int Interrupted = 4; // EINTR
    public const int WouldBlock = 11; // EAGAIN: the time-out of SO_RCVTIMEO

    [LibraryImport("libc", EntryPoint = "recvmmsg", SetLastError = true)]
    internal static partial int ReceiveMany(nint socket, Message* messages, uint count, int flags, nint timeout);

    [LibraryImport("libc", EntryPoint = "sendmmsg", SetLastError = true)]
    internal static partial int SendMany(nint socket, Message* messages, uint count, int flags);

    [StructLayout(LayoutKind.Sequential)]
    internal struct Vector
    {
        public byte* Base;
        public nuint Length;
    }

    /// <summary>struct mmsghdr: a msghdr of 56 bytes, padding included, and the datagram's length.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct Message
    {
        public byte* Name;
        public uint NameLength;
        public Vector* Vectors;
        public nuint VectorCount;
        public byte* Control;
        public nuint ControlLength;
        public int Flags;
        private readonly uint _padding;
        public uint Length;
        private readonly uint _lastPadding;
    }
}
