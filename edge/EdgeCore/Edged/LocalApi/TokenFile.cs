using System.Security.Cryptography;
using System.Text;

namespace Edge.Core.Edged.LocalApi;

/// <summary>The file with the local API's bearer token.</summary>
internal static class TokenFile
{
    private const int TokenBytes = 32;
    private const int LengthMin = 16;
    private const int LengthMax = 4096;
    private const UnixFileMode Others = UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.OtherRead | UnixFileMode.OtherWrite;

    /// <summary>Reads the token, or makes the file with one of 32 random bytes and mode 0600.</summary>
    /// <exception cref="LocalApiException">The file cannot be used: readable by others, too short, or not to be read or written.</exception>
    public static string LoadOrCreate(string path)
    {
        try
        {
            if (!File.Exists(path))
                Create(path);
            // No further than this is read, whatever the file is.
            using var file = File.OpenHandle(path);
            if ((File.GetUnixFileMode(file) & Others) != 0)
                throw new LocalApiException($"{path} (modules.edged.localAPITokenFile) can be read or written by others; make a new token with 'rm {path}' and a restart, or 'chmod 600 {path}' if nobody read it");
            var buffer = new byte[LengthMax + 1];
            var read = RandomAccess.Read(file, buffer, 0);
            if (read > LengthMax)
                throw new LocalApiException($"{path} (modules.edged.localAPITokenFile) is over {LengthMax} bytes, which no token is; remove it, and a new one is made");
            var token = Encoding.UTF8.GetString(buffer.AsSpan(0, read)).Trim();
            if (token.Length < LengthMin)
                throw new LocalApiException($"{path} (modules.edged.localAPITokenFile) holds {token.Length} characters, fewer than the {LengthMin} that a token must have; remove it, and a new one is made");
            return token;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new LocalApiException($"the token file {path} (modules.edged.localAPITokenFile): {e.Message}", e);
        }
    }

    // Written aside and renamed: a power cut leaves no half token.
    private static void Create(string path)
    {
        if (Path.GetDirectoryName(path) is { Length: > 0 } directory)
            Directory.CreateDirectory(directory);
        var temporary = path + ".tmp";
        File.Delete(temporary);
        using (var stream = new FileStream(temporary, new FileStreamOptions
        {
            Mode = FileMode.CreateNew, Access = FileAccess.Write, UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
        }))
        {
            stream.Write(Encoding.ASCII.GetBytes(Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(TokenBytes)) + "\n"));
            stream.Flush(flushToDisk: true);
        }

        File.Move(temporary, path, overwrite: true);
    }
}
