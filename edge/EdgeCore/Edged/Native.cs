using System.Runtime.InteropServices;
using System.Text;

namespace Edge.Core.Edged;

/// <summary>The system calls for volumes that the base library does not offer. Each throws <see cref="IOException"/> with the path and errno's text.</summary>
internal static class Native
{
    private const int Detach = 2;
    private const int AtCurrentDirectory = -100;
    private const uint StatxType = 1;
    private const uint StatxGroup = 0x10;
    private const int EmptyPath = 0x1000;
    private const int Bind = 4096;
    private const int NoFollow = 0x100;
    private const int ErrorExists = 17;

    // O_PATH | O_CLOEXEC are the same everywhere; O_NOFOLLOW differs on Arm.
    private static readonly int s_openPath = 0x200000 | 0x80000
        | (RuntimeInformation.ProcessArchitecture is Architecture.Arm or Architecture.Arm64 ? 0x8000 : 0x20000);

    /// <summary>rename(2): replaces the target in one step, also when it is a link.</summary>
    public static void Rename(string from, string to) => Check(RenameCall(Utf8(from), Utf8(to)), $"rename {from} to {to}");

    /// <summary>lchown(2); -1 leaves the user or the group.</summary>
    public static void ChangeOwner(string path, long user, long group) => Check(ChangeOwnerCall(Utf8(path), (uint)user, (uint)group), $"chown {path}");

    /// <summary>Mounts a tmpfs.</summary>
    public static void MountTmpfs(string path, string options)
        => Check(MountCall(Utf8("tmpfs"), Utf8(path), Utf8("tmpfs"), 0, Utf8(options)), $"mount tmpfs on {path}");

    /// <summary>Mounts what is at one path on another.</summary>
    public static void BindMount(string from, string to) => Check(MountCall(Utf8(from), Utf8(to), Utf8("none"), Bind, Utf8("")), $"bind {from} to {to}");

    /// <summary>realpath(3): the path without links, which must exist.</summary>
    public static string RealPath(string path)
    {
        var found = RealPathCall(Utf8(path), 0);
        Check(found == 0 ? -1 : 0, $"resolve {path}");
        try
        {
            return Marshal.PtrToStringUTF8(found)!;
        }
        finally
        {
            FreeCall(found);
        }
    }

    /// <summary>openat(2) with O_PATH, which reads nothing and follows no last link.</summary>
    /// <param name="directory">An open directory; null for the path as it is.</param>
    public static int OpenPathAt(int? directory, string path)
    {
        var descriptor = OpenCall(directory ?? AtCurrentDirectory, Utf8(path), s_openPath, 0);
        Check(descriptor < 0 ? -1 : 0, $"open {path}");
        return descriptor;
    }

    /// <summary>mkdirat(2); false when there is something of that name.</summary>
    public static bool MakeDirectoryAt(int directory, string name, uint mode)
    {
        if (MakeDirectoryCall(directory, Utf8(name), mode) == 0)
            return true;
        if (Marshal.GetLastPInvokeError() != ErrorExists)
            Check(-1, $"make directory {name}");
        return false;
    }

    /// <summary>Whether an open path is a link itself.</summary>
    public static bool IsLink(int descriptor)
    {
        var buffer = new byte[256];
        Check(StatxCall(descriptor, Utf8(""), EmptyPath | NoFollow, StatxType, buffer), "stat an open path");
        return (BitConverter.ToUInt16(buffer, 28) & 0xF000) == 0xA000;
    }

    /// <summary>The group that owns a path; stx_gid is at offset 24.</summary>
    public static long GroupOf(string path)
    {
        var buffer = new byte[256];
        Check(StatxCall(AtCurrentDirectory, Utf8(path), 0, StatxGroup, buffer), $"stat {path}");
        return BitConverter.ToUInt32(buffer, 24);
    }

    public static void Close(int descriptor) => _ = CloseCall(descriptor);

    /// <summary>Unmounts, now for new users and later for those still in it.</summary>
    public static void Unmount(string path) => Check(UnmountCall(Utf8(path), Detach), $"unmount {path}");

    /// <summary>rmdir(2); a directory that is not empty or in use stays. The base library's delete would first remove files, which a cgroup's cannot be.</summary>
    public static void RemoveDirectory(string path) => _ = RemoveDirectoryCall(Utf8(path));

    /// <summary>What a path is, as ls shows it: <c>-</c> file, <c>d</c> directory, <c>s</c> socket, <c>c</c> and <c>b</c> device, <c>p</c> pipe, blank nothing.</summary>
    public static char FileKind(string path)
    {
        // statx(2): stx_mode is the 16-bit field at offset 28 on every architecture.
        var buffer = new byte[256];
        if (StatxCall(AtCurrentDirectory, Utf8(path), 0, StatxType, buffer) != 0)
            return ' ';
        return (BitConverter.ToUInt16(buffer, 28) & 0xF000) switch
        {
            0x8000 => '-',
            0x4000 => 'd',
            0xC000 => 's',
            0x2000 => 'c',
            0x6000 => 'b',
            0x1000 => 'p',
            _ => ' ',
        };
    }

    private static byte[] Utf8(string text) => Encoding.UTF8.GetBytes(text + '\0');

    private static void Check(int result, string what)
    {
        if (result == 0)
            return;
        var error = Marshal.GetLastPInvokeError();
        throw new IOException($"{what}: {Marshal.GetPInvokeErrorMessage(error)}");
    }

    [DllImport("libc", EntryPoint = "rename", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int RenameCall(byte[] from, byte[] to);

    [DllImport("libc", EntryPoint = "lchown", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int ChangeOwnerCall(byte[] path, uint user, uint group);

    [DllImport("libc", EntryPoint = "mount", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int MountCall(byte[] source, byte[] target, byte[] type, nuint flags, byte[] data);

    [DllImport("libc", EntryPoint = "umount2", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int UnmountCall(byte[] path, int flags);

    [DllImport("libc", EntryPoint = "statx", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int StatxCall(int directory, byte[] path, int flags, uint mask, byte[] buffer);

    [DllImport("libc", EntryPoint = "rmdir", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int RemoveDirectoryCall(byte[] path);

    [DllImport("libc", EntryPoint = "realpath", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern nint RealPathCall(byte[] path, nint buffer);

    [DllImport("libc", EntryPoint = "free")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern void FreeCall(nint memory);

    [DllImport("libc", EntryPoint = "openat", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int OpenCall(int directory, byte[] path, int flags, uint mode);

    [DllImport("libc", EntryPoint = "mkdirat", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int MakeDirectoryCall(int directory, byte[] path, uint mode);

    [DllImport("libc", EntryPoint = "close", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int CloseCall(int descriptor);
}
