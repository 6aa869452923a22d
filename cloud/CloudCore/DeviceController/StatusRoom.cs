using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Edge.Cloud.DeviceController;

/// <summary>How many bytes the twins of one DeviceStatus may still take. Pure; one use.</summary>
/// <remarks>An API refuses an object that is too large as a whole, so one value too many would keep all others from being seen.</remarks>
internal sealed class StatusRoom
{
    // Names, braces, timestamps and the like of one twin or sample.
    private const int Frame = 200;

    private readonly int _max;
    private readonly bool _isAmple;
    private int _taken;

    /// <param name="max">Bytes of JSON that all twins may have.</param>
    /// <param name="stored">Bytes of the DeviceStatus as it is.</param>
    /// <param name="fresh">Twins that are new.</param>
    public StatusRoom(int max, int stored, IEnumerable<TwinEntry> fresh)
    {
        _max = max;
        // JSON makes at most six bytes of a UTF-16 unit. Where even that fits, nothing is counted: so it is nearly always.
        _isAmple = stored + fresh.Sum(entry => Frame + (6L * ((entry.Reported?.Value.Length ?? 0) + (entry.ObservedDesired?.Value.Length ?? 0)))) <= max;
    }

    /// <summary>Bytes that a text takes in JSON, with what stands around it.</summary>
    public static int SizeOf(string value) => Frame + JsonEncodedText.Encode(value, JavaScriptEncoder.UnsafeRelaxedJsonEscaping).EncodedUtf8Bytes.Length;

    /// <summary>Counts what stays as it is.</summary>
    public void Take(JsonElement entry)
    {
        if (!_isAmple)
            _taken += entry.GetRawText().Length;
    }

    /// <summary>The entry; where its values have no room, with what says so in their place.</summary>
    public TwinEntry Fit(TwinEntry entry) => _isAmple ? entry : new(Fit(entry.Reported), Fit(entry.ObservedDesired));

    private TwinSide? Fit(TwinSide? side)
    {
        if (side is null)
            return null;
        var size = SizeOf(side.Value);
        if (_taken + size <= _max)
        {
            _taken += size;
            return side;
        }

        _taken += Frame;
        return side with { Value = "", Error = string.Create(CultureInfo.InvariantCulture, $"the value of {side.Value.Length} characters is left out: the twins of one device's status take {_max} bytes at most") };
    }
}
