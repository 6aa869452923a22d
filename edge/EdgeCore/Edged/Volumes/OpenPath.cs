using System.Globalization;

namespace Edge.Core.Edged.Volumes;

/// <summary>A place in the file system held open (open(2), O_PATH): it stays the same whatever is renamed or replaced around it.</summary>
internal sealed class OpenPath : IDisposable
{
    private readonly int _descriptor;

    private OpenPath(int descriptor) => _descriptor = descriptor;

    /// <summary>A path to what is held open, good while it is held.</summary>
    public string Path => string.Create(CultureInfo.InvariantCulture, $"/proc/self/fd/{_descriptor}");

    /// <summary>Whether what is held open is a link itself.</summary>
    public bool IsLink => Native.IsLink(_descriptor);

    /// <summary>Opens a directory by its path.</summary>
    /// <exception cref="IOException">It cannot be opened.</exception>
    public static OpenPath Root(string path) => new(Native.OpenPathAt(null, path));

    /// <summary>Opens an entry of this directory, a link as itself.</summary>
    /// <exception cref="IOException">It is not there, or this is no directory.</exception>
    public OpenPath Open(string name) => new(Native.OpenPathAt(_descriptor, name));

    /// <summary>Makes a directory here for its owner alone; false when there is one.</summary>
    public bool MakeDirectory(string name) => Native.MakeDirectoryAt(_descriptor, name, 0b111_000_000);

    public void Dispose() => Native.Close(_descriptor);
}
