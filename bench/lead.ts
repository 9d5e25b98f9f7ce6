/** Made-up leads, each unlike every other. The number tells the receiver which one it got. ASCII, so length is bytes. */
export function leadBody(number: number): string {
  return (
    `{"n":"${number}","first_name":"Ann","last_name":"Example","email":"ann.${number}@example.com",` +
    `"phone":"+447700900${String(number % 1000).padStart(3, "0")}","postcode":"SW1A 1AA","property_type":"Terraced",` +
    `"comments":"Please call after six."}`
  );
}
