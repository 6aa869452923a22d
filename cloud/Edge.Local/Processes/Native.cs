using System.Runtime.InteropServices;

namespace Edge.Local.Processes;

/// <summary>The few system calls that the base library does not offer.</summary>
internal static partial class Native
{
    public const int SigTerm = 15;
    public const int SigKill = 9;

    /// <summary>MNT_DETACH: the mount leaves the tree now, its users finish with it in their own time.</summary>
    public const int Detach = 2;

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    public static partial int Kill(int processId, int signal);

    [LibraryImport("libc", EntryPoint = "umount2", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Unmount(string path, int flags);
}
