using System.Runtime.InteropServices;
using Edge.Common.Storage;

namespace Edge.Ctl.Upgrading;

/// <summary>The directory in which edgecore and its libraries are; it is replaced as a whole.</summary>
internal static partial class ProgramDirectory
{
    private const uint Exchange = 2; // RENAME_EXCHANGE, linux/fs.h
    private const int CurrentDirectory = -100; // AT_FDCWD

    /// <summary>The directory of a program, behind its links. It need not be there: a crash may have left none, which a roll-back mends.</summary>
    /// <exception cref="UpgradeException">It is not edgecore's own.</exception>
    public static string Of(string program)
    {
        var file = new FileInfo(program);
        // Only a link is followed: where nothing is, there is nothing to ask.
        var directory = Path.GetDirectoryName((file.LinkTarget is null ? file : file.ResolveLinkTarget(returnFinalTarget: file.Exists) ?? file).FullName)!;
        // What else lies there would go with it.
        return Path.GetFileName(directory) == NodePackage.Program ? directory
            : throw new UpgradeException($"{program} lies in {directory}; an upgrade replaces edgecore's directory as a whole, so it must be its own and be called edgecore, as in the Debian package (/usr/lib/edge/edgecore)");
    }

    /// <summary>Where the next content is made ready: beside, so that it is on the same file system.</summary>
    public static string Staging(string directory) => directory + ".new";

    /// <summary>An empty staging directory, readable as programs are.</summary>
    public static string MakeStaging(string directory)
    {
        var staging = Staging(directory);
        Remove(staging);
        Directory.CreateDirectory(staging);
        File.SetUnixFileMode(staging, (UnixFileMode)Convert.ToInt32("755", 8));
        return staging;
    }

    /// <summary>Puts the staging directory in the program's place, in one step (renameat2(2)), and removes what was there.</summary>
    /// <exception cref="IOException">It cannot be replaced.</exception>
    public static void Replace(string directory)
    {
        var staging = Staging(directory);
        var parent = Path.GetDirectoryName(directory)!;
        if (RenameAt2(CurrentDirectory, staging, CurrentDirectory, directory, Exchange) != 0)
        {
            // Some file systems cannot exchange (overlayfs below a container's root): two steps then; a crash between them is for 'edgectl rollback edge'.
            var former = directory + ".former";
            Remove(former);
            if (Directory.Exists(directory))
                Directory.Move(directory, former);
            Directory.Move(staging, directory);
            DirectorySync.Flush(parent);
            Remove(former);
            return;
        }

        // Before what was there goes: a power cut must not leave the name with neither.
        DirectorySync.Flush(parent);
        Remove(staging);
    }

    /// <summary>Copies a directory with the modes of its files, onto the disk.</summary>
    public static void Copy(string from, string to)
    {
        Directory.CreateDirectory(to);
        foreach (var path in Directory.EnumerateFiles(from, "*", SearchOption.AllDirectories))
        {
            var target = Path.Combine(to, Path.GetRelativePath(from, path));
            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            using (var source = File.OpenRead(path))
            using (var copy = new FileStream(target, FileMode.Create, FileAccess.Write))
            {
                source.CopyTo(copy);
                copy.Flush(flushToDisk: true);
            }

            File.SetUnixFileMode(target, File.GetUnixFileMode(path));
        }

        Flush(to);
    }

    /// <summary>Puts the names in a directory and in those below it on the disk.</summary>
    public static void Flush(string directory)
    {
        foreach (var below in Directory.EnumerateDirectories(directory, "*", SearchOption.AllDirectories))
            DirectorySync.Flush(below);
        DirectorySync.Flush(directory);
    }

    public static void Remove(string directory)
    {
        if (Directory.Exists(directory))
            Directory.Delete(directory, recursive: true);
    }

    [LibraryImport("libc", EntryPoint = "renameat2", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int RenameAt2(int oldDirectory, string oldPath, int newDirectory, string newPath, uint flags);
}
