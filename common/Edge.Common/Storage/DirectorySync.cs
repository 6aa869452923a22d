using System.Runtime.InteropServices;

namespace Edge.Common.Storage;

/// <summary>Puts a directory's entries on the disk. A file that was written, flushed and renamed is whole after a power cut, but which of the two names it has is in the directory.</summary>
public static partial class DirectorySync
{
    private const int ReadOnly = 0x80000; // O_RDONLY | O_CLOEXEC, fcntl.h
    private const int InvalidArgument = 22; // EINVAL

    /// <summary>fsync(2) of a directory: renames, new files and removals in it stay.</summary>
    /// <exception cref="IOException">There is no such directory, or the disk refuses.</exception>
    public static void Flush(string directory)
    {
        var descriptor = Open(directory, ReadOnly);
        if (descriptor < 0)
            throw Failure(directory);
        try
        {
            // EINVAL: a file system that knows no such thing, as some over a network.
            if (Sync(descriptor) != 0 && Marshal.GetLastPInvokeError() != InvalidArgument)
                throw Failure(directory);
        }
        finally
        {
            _ = Close(descriptor);
        }
    }

    /// <summary>Renames a file over another and puts the name on the disk.</summary>
    /// <exception cref="IOException">Either failed; one of the two is there, whole.</exception>
    public static void Replace(string from, string to)
    {
        File.Move(from, to, overwrite: true);
        Flush(Path.GetDirectoryName(Path.GetFullPath(to))!);
    }

    private static IOException Failure(string directory)
        => new($"the directory {directory} cannot be put on the disk: {Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError())}");

    [LibraryImport("libc", EntryPoint = "open", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int Sync(int descriptor);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int Close(int descriptor);
}
