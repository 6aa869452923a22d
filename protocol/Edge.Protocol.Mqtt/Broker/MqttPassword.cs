using System.Globalization;
using System.Security.Cryptography;
using Edge.Protocol.Mqtt.Authentication;

namespace Edge.Protocol.Mqtt.Broker;

/// <summary>Password hashes: <c>pbkdf2-sha512$ITERATIONS$SALT$HASH</c>, salt and hash in base64 (RFC 8018, 5.2); and <c>scram-sha-256$ITERATIONS$SALT$STOREDKEY$SERVERKEY</c> (RFC 5803), with
/// which a user may also prove to know the password without sending it.</summary>
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

    /// <summary>A hash with a new salt that serves SCRAM-SHA-256 (RFC 7677) and plain passwords.</summary>
    /// <param name="iterations">4,096 to 5,000,000: the client works through them too, each time it connects.</param>
    public static string HashForScram(string password, int iterations = MqttScramHash.IterationsDefault)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(iterations, Scram.IterationsMin);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(iterations, Scram.IterationsMax);
        return MqttScramHash.Make(password, iterations);
    }

    /// <summary>True where <see cref="Verify"/> can use it.</summary>
    public static bool IsHash(string hash) => TryParse(hash, out _, out _, out _) || MqttScramHash.TryParse(hash, out _);

    /// <summary>Takes tens of milliseconds of processor, on purpose.</summary>
    public static bool Verify(string hash, ReadOnlySpan<byte> password)
    {
        if (MqttScramHash.TryParse(hash, out var secret))
            return MqttScramHash.Verify(secret, password);
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
