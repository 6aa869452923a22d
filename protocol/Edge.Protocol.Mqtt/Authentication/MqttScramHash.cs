using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace Edge.Protocol.Mqtt.Authentication;

/// <summary>What a broker keeps of a password for SCRAM-SHA-256: <c>scram-sha-256$ITERATIONS$SALT$STOREDKEY$SERVERKEY</c>, the last three in base64. A plain password can be checked with it too.</summary>
internal static class MqttScramHash
{
    public const string Scheme = "scram-sha-256";

    /// <summary>A client works through so many for each exchange: a tenth of a second of a PC, some seconds of a small device.</summary>
    public const int IterationsDefault = 100_000;

    private const int SaltSize = 16;
    private const int SaltSizeMax = 64;

    public static string Make(string password, int iterations)
    {
        var salt = RandomNumberGenerator.GetBytes(SaltSize);
        var salted = Scram.Salted(Encoding.UTF8.GetBytes(password), salt, iterations);
        return $"{Scheme}${Scram.Number(iterations)}${Convert.ToBase64String(salt)}${Convert.ToBase64String(Scram.StoredKey(salted))}${Convert.ToBase64String(Scram.ServerKey(salted))}";
    }

    public static bool TryParse(string text, out ScramSecret secret)
    {
        secret = new ScramSecret(0, [], [], []);
        var parts = text.Split('$');
        if (parts.Length != 5 || parts[0] != Scheme || !int.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out var iterations)
            || iterations is < Scram.IterationsMin or > Scram.IterationsMax
            || !Scram.TryBase64(parts[2], out var salt) || !Scram.TryBase64(parts[3], out var storedKey) || !Scram.TryBase64(parts[4], out var serverKey)
            || salt.Length is 0 or > SaltSizeMax || storedKey.Length != SHA256.HashSizeInBytes || serverKey.Length != SHA256.HashSizeInBytes)
        {
            return false;
        }

        secret = new ScramSecret(iterations, salt, storedKey, serverKey);
        return true;
    }

    public static bool Verify(ScramSecret secret, ReadOnlySpan<byte> password)
        => CryptographicOperations.FixedTimeEquals(Scram.StoredKey(Scram.Salted(password, secret.Salt, secret.Iterations)), secret.StoredKey);
}
