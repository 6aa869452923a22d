using System.Globalization;
using System.Security.Cryptography;

namespace Edge.Protocol.Mqtt.Broker;

/// <summary>Password hashes: <c>pbkdf2-sha512$ITERATIONS$SALT$HASH</c>, salt and hash in base64 (RFC 8018, 5.2).</summary>
public static class MqttPassword
{
    private const string Scheme = "pbkdf2-sha512";
    private const int Iterations = 210_000;
    private const int IterationsMax = 10_000_000;
    private const int HashSize = 32;

    /// <summary>A hash with a new salt.</summary>
    public static string Hash(string password, int iterations = Iterations)
    {
        var salt = RandomNumberGenerator.GetBytes(16);
        var hash = Rfc2898DeriveBytes.Pbkdf2(password, salt, iterations, HashAlgorithmName.SHA512, HashSize);
        return $"{Scheme}${iterations.ToString(CultureInfo.InvariantCulture)}${Convert.ToBase64String(salt)}${Convert.ToBase64String(hash)}";
    }

    /// <summary>True where <see cref="Verify"/> can use it.</summary>
    public static bool IsHash(string hash) => TryParse(hash, out _, out _, out _);

    /// <summary>Takes tens of milliseconds of processor, on purpose.</summary>
    public static bool Verify(string hash, ReadOnlySpan<byte> password)
    {
        if (!TryParse(hash, out var iterations, out var salt, out var wanted))
            return false;
        var got = Rfc2898DeriveBytes.Pbkdf2(password, salt, iterations, HashAlgorithmName.SHA512, wanted.Length);
        return CryptographicOperations.FixedTimeEquals(got, wanted);
    }

    private static bool TryParse(string text, out int iterations, out byte[] salt, out byte[] hash)
    {
        (iterations, salt, hash) = (0, [], []);
        var parts = text.Split('$');
        if (parts.Length != 4 || parts[0] != Scheme || !int.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out iterations) || iterations is < 1 or > IterationsMax)
            return false;
        salt = new byte[parts[2].Length];
        hash = new byte[parts[3].Length];
        if (!Convert.TryFromBase64String(parts[2], salt, out var saltSize) || !Convert.TryFromBase64String(parts[3], hash, out var hashSize) || hashSize < 16)
            return false;
        (salt, hash) = (salt[..saltSize], hash[..hashSize]);
        return true;
    }
}
