namespace Edge.ApiServer.Backup;

/// <summary>Held while an API serves from a data directory, by a lock on <c>apiserver.lock</c> that ends with the process, however that ends. Keeps a second cloudcore and a restore away.</summary>
public sealed class DirectoryLock : IDisposable
{
    private readonly FileStream _file;

    private DirectoryLock(FileStream file) => _file = file;

    /// <summary>Null when another process, or another part of this one, holds it.</summary>
    public static DirectoryLock? TryTake(string dataDirectory)
    {
        var path = Path.Combine(dataDirectory, "apiserver.lock");
        try
        {
            return new DirectoryLock(new FileStream(path, new FileStreamOptions
            {
                Mode = FileMode.OpenOrCreate, Access = FileAccess.ReadWrite, Share = FileShare.None, UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
            }));
        }
        catch (IOException e) when (e is not (DirectoryNotFoundException or PathTooLongException))
        {
            return null;
        }
    }

    public void Dispose() => _file.Dispose();
}
