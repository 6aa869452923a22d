using System.Runtime.InteropServices;
using System.Text;

namespace Edge.Core.NodeStatus;

/// <summary>How full a file system is. Sizes are bytes; <paramref name="Device"/> tells file systems apart. Inodes are 0 where they are not known
/// (a file system without a fixed number, as btrfs, or a 32-bit machine).</summary>
internal sealed record FileSystemFacts(string Device, long Bytes, long BytesAvailable, long Inodes, long InodesFree)
{
    /// <summary>The file system that <paramref name="path"/>, or its nearest ancestor that exists, lies on; null when it cannot be read.</summary>
    public static FileSystemFacts? Of(string path)
    {
        var directory = Path.GetFullPath(path);
        while (!Directory.Exists(directory) && Path.GetDirectoryName(directory) is { } parent)
            directory = parent;
        if (!Environment.Is64BitProcess)
            return OfDrive(directory);

        // struct statvfs on 64-bit Linux (sys/statvfs.h): f_bsize, f_frsize, f_blocks, f_bfree, f_bavail, f_files, f_ffree, f_favail, f_fsid, each of 8 bytes.
        var fields = new ulong[32];
        if (StatvfsCall(Encoding.UTF8.GetBytes(directory + '\0'), fields) != 0)
            return null;
        var block = fields[1];
        return fields[2] == 0
            ? null
            : new FileSystemFacts($"{fields[8]:x}-{fields[2]:x}", (long)(fields[2] * block), (long)(fields[4] * block), (long)fields[5], (long)fields[6]);
    }

    private static FileSystemFacts? OfDrive(string directory)
    {
        try
        {
            var drive = new DriveInfo(directory);
            return drive.TotalSize > 0 ? new FileSystemFacts(drive.Name, drive.TotalSize, drive.AvailableFreeSpace, 0, 0) : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null; // as a file system that cannot be read
        }
    }

    [DllImport("libc", EntryPoint = "statvfs", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int StatvfsCall(byte[] path, ulong[] buffer);
}
