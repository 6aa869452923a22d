using System.Globalization;
using System.Text;
using Edge.Protocol.Dmi.V1Beta1;

namespace Edge.Core.DeviceTwin;

/// <summary>Whether a value fits its property's model: size, type, limits, access mode.</summary>
internal static class TwinValues
{
    /// <summary>Longest value, bytes of UTF-8.</summary>
    public const int LengthMax = 64 * 1024;

    /// <summary>Longest reason that is kept of a property or device, letters; what a mapper says of an error too.</summary>
    public const int ReasonLengthMax = 1024;

    private const int QuoteLengthMax = 100;

    /// <summary>The text, or its beginning and <c>…</c> where it is longer: for reasons, which go up with each twin.</summary>
    public static string Cut(string? text, int lengthMax = QuoteLengthMax)
    {
        if (text is null || text.Length <= lengthMax)
            return text ?? "";
        return string.Concat(text.AsSpan(0, char.IsHighSurrogate(text[lengthMax - 1]) ? lengthMax - 1 : lengthMax), "…");
    }

    /// <summary>Why the value cannot be taken as reported; null when it can. An empty value says "none", whatever the type.</summary>
    public static string? Refusal(string value, ModelProperty? model)
    {
        // Most values are short: bytes are counted only where they could be too many.
        if (value.Length > LengthMax / 3 && Encoding.UTF8.GetByteCount(value) is var bytes && bytes > LengthMax)
            return $"value of {bytes} bytes is over the limit of {LengthMax}";
        if (model is null || value.Length == 0)
            return null;
        switch (model.Type.ToUpperInvariant())
        {
            case "INT":
                return TryWhole(value, out var whole) ? Limits(value, whole, model) : Wrong(value, model);
            case "FLOAT" or "DOUBLE":
                return TryNumber(value, out var number) ? Limits(value, number, model) : Wrong(value, model);
            case "BOOLEAN":
                return value.ToUpperInvariant() is "TRUE" or "FALSE" or "0" or "1" or "ON" or "OFF" ? null : Wrong(value, model);
            default:
                return null;
        }
    }

    /// <summary>Why the value cannot be desired; null when it can.</summary>
    public static string? DesiredRefusal(string value, ModelProperty? model)
    {
        if (model is null)
            return "the model has no such property";
        if (model.AccessMode.Equals("ReadOnly", StringComparison.OrdinalIgnoreCase))
            return "the model says ReadOnly";

        // A sensor may say NaN; nothing can be set to it.
        if (model.Type.ToUpperInvariant() is "FLOAT" or "DOUBLE" && TryNumber(value, out var number) && !double.IsFinite(number))
            return Wrong(value, model);
        return Refusal(value, model);
    }

    // Exact, where a bound is a number that decimal can hold.
    private static string? Limits(string value, decimal number, ModelProperty model)
    {
        if (decimal.TryParse(model.Minimum, NumberStyles.Float, CultureInfo.InvariantCulture, out var minimum) ? number < minimum : TryNumber(model.Minimum, out var low) && (double)number < low)
            return $"{Cut(value)} is below the model's minimum {model.Minimum}";
        if (decimal.TryParse(model.Maximum, NumberStyles.Float, CultureInfo.InvariantCulture, out var maximum) ? number > maximum : TryNumber(model.Maximum, out var high) && (double)number > high)
            return $"{Cut(value)} is above the model's maximum {model.Maximum}";
        return null;
    }

    private static string? Limits(string value, double number, ModelProperty model)
    {
        if (TryNumber(model.Minimum, out var minimum) && !(number >= minimum))
            return $"{Cut(value)} is below the model's minimum {model.Minimum}";
        if (TryNumber(model.Maximum, out var maximum) && !(number <= maximum))
            return $"{Cut(value)} is above the model's maximum {model.Maximum}";
        return null;
    }

    private static string Wrong(string value, ModelProperty model)
        => $"'{Cut(value)}' is not {(model.Type.ToUpperInvariant() switch { "INT" => "a whole number of 64 bits", "BOOLEAN" => "true or false", _ => "a number" })}, the model's type is {model.Type}";

    // 64 bits, with a sign or without. A mapper that scales says 21.0 of a whole number; a stock one says 21. decimal rounds what is too fine for it; double tells that there was something.
    private static bool TryWhole(string text, out decimal number)
    {
        if (long.TryParse(text, NumberStyles.Integer, CultureInfo.InvariantCulture, out var whole))
        {
            number = whole;
            return true;
        }

        return decimal.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out number) && number == decimal.Truncate(number) && number is >= long.MinValue and <= ulong.MaxValue
            && TryNumber(text, out var rough) && rough == Math.Floor(rough);
    }

    private static bool TryNumber(string text, out double number) => double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out number);
}
