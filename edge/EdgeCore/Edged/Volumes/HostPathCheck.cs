namespace Edge.Core.Edged.Volumes;

/// <summary>The type of a hostPath volume, with a kubelet's words when it does not fit (pkg/volume/hostpath).</summary>
internal static class HostPathCheck
{
    private const UnixFileMode FolderMode = (UnixFileMode)0b111_101_101;
    private const UnixFileMode FileMode = (UnixFileMode)0b110_100_100;

    /// <summary>Makes what the type says to make, and checks what is there.</summary>
    /// <param name="type">As in the volume; empty checks nothing.</param>
    /// <exception cref="PodConfigException">What is there is of another type, or the type is not known.</exception>
    public static void Apply(string path, string type)
    {
        var kind = Native.FileKind(path);
        switch (type)
        {
            case "DirectoryOrCreate" when kind == ' ':
            case "" when kind == ' ': // as the runtime's own mount would
                Directory.CreateDirectory(path, FolderMode);
                return;
            case "FileOrCreate" when kind == ' ':
                File.WriteAllBytes(path, []);
                File.SetUnixFileMode(path, FileMode);
                return;
        }

        var (wanted, what) = type switch
        {
            "" => (kind, ""),
            "Directory" or "DirectoryOrCreate" => ('d', "a directory"),
            "File" or "FileOrCreate" => ('-', "a file"),
            "Socket" => ('s', "a socket file"),
            "CharDevice" => ('c', "a character device"),
            "BlockDevice" => ('b', "a block device"),
            _ => throw new PodConfigException($"{type} is an invalid volume type"),
        };
        if (kind != wanted)
            throw new PodConfigException($"hostPath type check failed: {path} is not {what}");
    }
}
